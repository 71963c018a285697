"""The benchmark's rows of slicer-isolated and of drop and allow lists."""

import os

RANGE = "10.200.0.0/16"  # room for thousands of blocks
LISTED_TARGET_US, LISTED_PORT_TARGET_US = 6, 15


class Isolated:
    """Rows; `bench` has the hosts and the table, `network` is its class of networks, `flag` its AWAIT_ORPHANS."""

    def __init__(self, bench, network, flag):
        self.bench, self.network, self.await_orphans = bench, network, flag

    def our_network(self, name, firewall=None, prefix="i", range_=RANGE):
        plugins = [{"type": "slicer-isolated", "range": range_}, {"type": "slicer-firewall", **(firewall or {})}]
        return self.network(self.bench.ours, self.bench.ours_dir, name, plugins, f"/run/netns/{prefix}", "tap0")

    def upstream_network(self, name):
        plugins = [{"type": "ptp", "ipMasq": True,
                    "ipam": {"type": "host-local", "subnet": "10.220.0.0/16", "routes": [{"dst": "0.0.0.0/0"}]}},
                   {"type": "firewall"}]
        return self.network(self.bench.upstream, self.bench.upstream_dir, name, plugins, "/run/netns/u", "eth0")

    def against_upstream(self):
        self.bench.new_netns("i", 2)
        self.bench.new_netns("u", 2)
        self.bench.add_and_delete("isolated; upstream: ptp", self.our_network("isolated"), self.upstream_network("ptp"),
                                  15, (30, 4))

    def beside_others(self):
        """The cost of an ADD, by how many isolated VMs are there. All counts are measured in one host, in turns of
        filling and emptying, so that a slow minute of the machine hits them alike."""
        sizes = [0, 5, 20] if self.bench.options.smoke else [0, 100, 1000]
        rounds = 1 if self.bench.options.smoke else 3
        pairs = max(3, self.bench.pairs // rounds)
        self.bench.new_netns("i", 1)
        self.bench.new_netns("j", sizes[-1])
        many, one = self.our_network("crowd", prefix="j"), self.our_network("beside", range_="10.210.0.0/16")
        self.drop(one, one.add(0)[1])  # what is the network's
        times = {size: [] for size in sizes}
        for _ in range(rounds):
            there = 0
            for size in sizes:
                if size > there:
                    many.host.measure([many.steps("ADD", number) for number in range(there, size)], workers=4)
                    there = size
                for _ in range(pairs):
                    elapsed, result = one.add(0)
                    times[size].append(elapsed)
                    self.drop(one, result)
            many.host.measure([many.steps("DEL", number)[::-1] for number in range(there)], self.await_orphans, workers=4)
        for size, target in zip(sizes[1:], (1.3, 1.3)):
            self.bench.table.ratio(f"ADD isolated with {size} VMs there / with none", times[size], times[0],
                                   at_most=target, what=("many", "none"))

    def drop(self, network, result):
        network.delete(0, result, self.await_orphans)

    @staticmethod
    def entries(count, ports):
        """Every second address: no two can be merged."""
        suffix = ":443" if ports else ""
        return [f"198.18.{number * 2 // 256}.{number * 2 % 256}{suffix}" for number in range(count)]

    def lists(self):
        """What an entry of the lists costs an ADD: in a namespace of its own each time, on a bridge only the first."""
        large = 200 if self.bench.options.smoke else 10000
        pairs = max(3, self.bench.pairs // 4)
        self.bench.new_netns("i", 1)
        for ports in (False, True):
            kind = "entries with a port" if ports else "entries"
            networks = [self.our_network(f"few{ports}", {"drop": self.entries(10, ports)}),
                        self.our_network(f"lots{ports}", {"drop": self.entries(large, ports)})]
            for network in networks:
                self.drop(network, network.add(0)[1])
            times = ([], [])
            for pair in range(pairs):
                for i in ((0, 1), (1, 0))[pair % 2]:
                    elapsed, result = networks[i].add(0)
                    times[i].append(elapsed)
                    self.drop(networks[i], result)
            per_entry = (median(times[1]) - median(times[0])) * 1000 / (large - 10)
            self.bench.table.fact(f"an entry of {large} {kind}, isolated ADD", per_entry,
                                  LISTED_PORT_TARGET_US if ports else LISTED_TARGET_US, "µs", timing=True)

    def backends(self):
        """The same chain with all rules in nf_tables and in the legacy tables, each on a host of its own."""
        legacy = type(self.bench.ours)("legacy-i", os.path.join(self.bench.options.root, "build/bench/timed"))
        for count in (0, 10, 100 if self.bench.options.smoke else 1000):
            lists = {"drop": self.entries(count, False)}
            networks = [self.our_network(f"inft{count}", lists),
                        self.our_network(f"iipt{count}", lists, prefix="k", range_="10.211.0.0/16")]
            self.bench.new_netns("i", 1)
            self.bench.new_netns("k", 1)
            networks[1].host = legacy
            for plugin in networks[1].plugins:
                plugin["backend"] = "iptables"
            for network in networks:
                self.drop(network, network.add(0)[1])
            times, dels = ([], []), ([], [])
            for pair in range(max(3, self.bench.pairs // 2)):
                for i in ((0, 1), (1, 0))[pair % 2]:
                    elapsed, result = networks[i].add(0)
                    times[i].append(elapsed)
                    dels[i].append(networks[i].delete(0, result, self.await_orphans))
            what = {"what": ("nftables", "iptables")}
            self.bench.table.ratio(f"ADD isolated chain by backend, {count} entries", *times, **what)
            self.bench.table.ratio(f"DEL isolated chain by backend, {count} entries", *dels, **what)

    def lists_on_bridge(self):
        large = 200 if self.bench.options.smoke else 10000
        networks = [self.bench.our_network(f"filtered{count}", private=False) for count in (10, large)]
        for network, count in zip(networks, (10, large)):
            network.plugins[1]["drop"] = self.entries(count, False)
        standing = [network.add(0)[1] for network in networks]
        times = ([], [])
        for pair in range(max(3, self.bench.pairs // 2)):
            for i in ((0, 1), (1, 0))[pair % 2]:
                elapsed, result = networks[i].add(1)
                times[i].append(elapsed)
                networks[i].delete(1, result, self.await_orphans)
        for network, result in zip(networks, standing):
            network.delete(0, result, self.await_orphans)
        # Nothing is written any more: what is left is that the configuration is read and its lists are compiled.
        per_entry = (median(times[1]) - median(times[0])) * 1000 / (large - 10)
        self.bench.table.fact(f"an entry of {large}, ADD on a bridge after the first VM", per_entry, 1.5, "µs", timing=True)

    def run(self):
        for name, row in (("isolated chain", self.against_upstream), ("isolated many", self.beside_others),
                          ("isolated lists", self.lists), ("isolated bridge lists", self.lists_on_bridge),
                          ("isolated backends", self.backends)):
            if self.bench.table.only in (None, "isolated", name):
                row()


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
