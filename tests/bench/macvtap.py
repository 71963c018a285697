"""The rows of slicer-macvtap: against upstream's macvlan with host-local, which makes an interface and no TAP."""

import random
import subprocess
import time

LINK = "lan0"


def plug_in(host, link):
    """An interface of the host on a LAN where nobody answers."""
    for command in (f"link add {link} type veth peer name {link}-end", f"link set {link}-end up", f"link set {link} up"):
        subprocess.run(["ip", "-n", host.name, *command.split()], check=True)


def plugin(parent, probe=False):
    return {"type": "slicer-macvtap", "parent": parent, "probe": probe,
            "ipam": {"type": "slicer-ipam", "gateway": "192.168.0.1/16", "range": "192.168.8.0-192.168.9.0"}}


class Macvtap:
    """Takes the benchmark, its class for a network, how it takes turns, and the flag that waits for orphans."""

    def __init__(self, bench, network, in_turns, await_orphans):
        self.bench, self.new_network, self.in_turns, self.await_orphans = bench, network, in_turns, await_orphans

    def ours(self, name, parent=LINK, probe=False):
        bench = self.bench
        return self.new_network(bench.ours, bench.ours_dir, name, [plugin(parent, probe)], "/run/netns/mo", "tap0")

    def upstream(self, name):
        bench = self.bench
        conf = {"type": "macvlan", "master": LINK, "mode": "bridge",
                "ipam": {"type": "host-local", "subnet": "192.168.0.0/16", "rangeStart": "192.168.8.0",
                         "rangeEnd": "192.168.9.0", "routes": [{"dst": "0.0.0.0/0"}]}}
        return self.new_network(bench.upstream, bench.upstream_dir, name, [conf], "/run/netns/mu", "eth0")

    def against_upstream(self):
        """Beside one that stands: the first of a host's pays for what is the parent's. No deletion overlaps the next
        one: a barrier waits for the one before. And none begins where the last ended, at the kernel's tick."""
        bench = self.bench
        networks = (self.ours("macvtap"), self.upstream("macvlan"))
        standing = [network.add(0)[1] for network in networks]
        adds = ([], [])

        def delete(i, flags):
            def work(_):
                elapsed, result = networks[i].add(1)
                adds[i].append(elapsed)
                elapsed = networks[i].delete(1, result, flags)
                networks[i].host.measure([networks[i].steps("VERSION", 1)], self.await_orphans)
                time.sleep(random.uniform(0, 0.02))
                return elapsed
            return work
        notice, theirs = self.in_turns(bench.pairs, delete(0, 0), delete(1, 0))
        barrier, theirs_too = self.in_turns(bench.pairs, delete(0, self.await_orphans), delete(1, self.await_orphans))
        bench.table.ratio("ADD macvtap / upstream's macvlan", *adds, at_least=5)
        bench.table.ratio("DEL macvtap / upstream's macvlan, at the kernel's notice", notice, theirs, at_least=10)
        bench.table.ratio("DEL macvtap / upstream's macvlan, after the RCU barrier", barrier, theirs_too, at_least=1.5)
        for network, result in zip(networks, standing):
            network.delete(0, result, self.await_orphans)

    def run(self):
        bench = self.bench
        full = 8 if bench.options.smoke else 64
        bench.new_netns("mu", 2)
        bench.new_netns("mo", full)
        for host in (bench.ours, bench.upstream):
            plug_in(host, LINK)
        self.against_upstream()

        def add(network, number):
            def work(_):
                elapsed, result = network.add(number)
                network.delete(number, result, self.await_orphans)
                return elapsed
            return work
        probing, silent = self.in_turns(bench.pairs, add(self.ours("probing", probe=True), 0), add(self.ours("silent"), 0))
        bench.table.ratio("ADD macvtap with the probe of a free address / without", silent, probing,
                          what=("without", "probe"))
        plug_in(bench.ours, "lan1")
        many = self.ours("many", "lan1")
        standing = [(number, many.add(number)[1]) for number in range(1, full)]
        last, first = self.in_turns(bench.pairs, add(many, 0), add(self.ours("first"), 0))
        bench.table.ratio(f"ADD macvtap, number {full} on one parent / the first", last, first, at_most=1.3,
                          what=("last", "first"))
        for number, result in standing:
            many.delete(number, result, self.await_orphans)
