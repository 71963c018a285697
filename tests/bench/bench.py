"""The benchmark's rows and its statistics; scripts/bench builds what is needed and starts this in namespaces.

Two "hosts" (network namespaces) stand beside each other, one with our plugins, one with upstream's, so that neither's
rules or deletions slow the other down. In every pair both do the same work, and who begins alternates. A row shows the
medians, and the ratio of the medians with its 95 % interval (percentile bootstrap over the pairs).
"""

import argparse
import json
import os
import random
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile

from isolated import Isolated
from macvtap import Macvtap
from vms import Vms

AWAIT_ORPHANS, KEEP_OUTPUT = 1, 2
NETNS = "/run/netns/"


class Failure(Exception):
    """A call that was to be measured did not work."""


class Step:
    """One call of a plugin."""

    def __init__(self, program, command, conf, attachment):
        self.program, self.command, self.conf, self.attachment = program, command, conf, attachment

    def packed(self, chained):
        owner, netns, ifname = self.attachment
        variables = {"CNI_COMMAND": self.command, "CNI_CONTAINERID": owner, "CNI_NETNS": netns, "CNI_IFNAME": ifname,
                     "CNI_PATH": os.path.dirname(self.program), "PATH": os.environ["PATH"]}
        text = json.dumps(self.conf)
        if chained:
            text = text[:-1] + ', "prevResult":'
        return (self.program.encode() + b"\0" + struct.pack("=I", len(variables)) +
                b"".join(f"{name}={value}".encode() + b"\0" for name, value in variables.items()) +
                struct.pack("=I", len(text.encode())) + text.encode())


class Host:
    """A network namespace with a stopwatch in it."""

    def __init__(self, name, timed):
        self.name = name
        subprocess.run(["ip", "netns", "add", name], check=True)
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        self.process = subprocess.Popen(["ip", "netns", "exec", name, timed], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        self.peak_kib = {}

    def measure(self, chains, flags=KEEP_OUTPUT, workers=1):
        """Runs the chains; returns milliseconds and the last output."""
        message = struct.pack("=III", flags, workers, len(chains))
        for steps in chains:
            message += struct.pack("=I", len(steps))
            for i, step in enumerate(steps):
                message += step.packed(chained=i > 0 and bool(flags & KEEP_OUTPUT))
        self.process.stdin.write(message)
        self.process.stdin.flush()
        elapsed, failures, peak, length = struct.unpack("=QIQI", self.process.stdout.read(24))
        output = self.process.stdout.read(length).decode(errors="replace")
        if failures:
            raise Failure(f"{failures} of {len(chains)} failed on {self.name}: {chains[0][0].command} "
                          f"{os.path.basename(chains[0][0].program)}: {output}")
        for steps in chains:
            if len(steps) == 1:
                name = os.path.basename(steps[0].program)
                self.peak_kib[name] = max(self.peak_kib.get(name, 0), peak)
        return elapsed / 1e6, output


class Network:
    """A conflist's plugins with their programs, called as a runtime calls them."""

    def __init__(self, host, folder, name, plugins, netns, ifname):
        self.host, self.folder, self.name, self.plugins, self.netns, self.ifname = host, folder, name, plugins, netns, ifname

    def attachment(self, number):
        netns = self.netns if self.netns.endswith(self.host.name) else f"{self.netns}{number}"
        ifname = f"{self.ifname}{number}" if self.netns.endswith(self.host.name) else self.ifname
        return (f"vm{number}", netns, ifname)

    def steps(self, command, number, prev_result=None):
        confs = [{"cniVersion": "1.0.0", "name": self.name, **plugin} for plugin in self.plugins]
        if prev_result:
            confs = [{**conf, "prevResult": prev_result} for conf in reversed(confs)]
        return [Step(os.path.join(self.folder, conf["type"]), command, conf, self.attachment(number)) for conf in confs]

    def add(self, number):
        elapsed, output = self.host.measure([self.steps("ADD", number)])
        return elapsed, json.loads(output)

    def delete(self, number, result, flags=0):
        return self.host.measure([self.steps("DEL", number, result)], flags)[0]


class Table:
    """Rows of measurements and what is asked of them."""

    def __init__(self, smoke, only):
        self.smoke, self.only, self.rows, self.missed = smoke, only, [], []

    def wants(self, name):
        return self.only is None or self.only in name

    def ratio(self, name, ours, theirs, at_least=None, at_most=None, what=("slicer", "upstream"), unit="ms"):
        """theirs / ours by default: how many times faster we are."""
        ratio, low, high = ratio_interval(theirs, ours) if at_most is None else ratio_interval(ours, theirs)
        good = None
        if at_least is not None:
            good = low >= at_least
        elif at_most is not None:
            good = high <= at_most
        self.rows.append({"name": name, "pairs": len(ours), "unit": unit, what[0]: round(statistics.median(ours), 4),
                          what[1]: round(statistics.median(theirs), 4), "ratio": round(ratio, 3),
                          "interval95": [round(low, 3), round(high, 3)], "atLeast": at_least, "atMost": at_most,
                          "columns": what, "good": good})
        self.show(self.rows[-1])
        if good is False and not self.smoke:
            self.missed.append(name)

    def fact(self, name, value, limit, unit, timing=False):
        """A count or a size with a limit that holds in smoke runs too; a time's does not."""
        good = value <= limit
        self.rows.append({"name": name, "value": value, "limit": limit, "unit": unit, "good": good})
        print(f"{name:58} {value:10.6g} {unit} (at most {limit:g}) {'ok' if good else 'MISSED'}", flush=True)
        if not good and not (timing and self.smoke):
            self.missed.append(name)

    def show(self, row):
        a, b = row["columns"]
        target = ""
        if row["good"] is not None:
            target = f"target {'>=' if row['atLeast'] else '<='} {row['atLeast'] or row['atMost']:g}"
            target += "" if self.smoke else " ok" if row["good"] else " MISSED"
        print(f"{row['name']:58} {a} {row[a]:9.3f}  {b} {row[b]:9.3f} {row['unit']}  ratio {row['ratio']:8.2f} "
              f"[{row['interval95'][0]:.2f}, {row['interval95'][1]:.2f}]  {target}", flush=True)


def ratio_interval(top, bottom, rounds=2000):
    """Ratio of medians and its 95 % interval; the pairs are drawn as pairs, since they were measured together."""
    chance = random.Random(1)
    ratios = []
    for _ in range(rounds):
        drawn = [chance.randrange(len(top)) for _ in top]
        ratios.append(statistics.median(top[i] for i in drawn) / statistics.median(bottom[i] for i in drawn))
    ratios.sort()
    return (statistics.median(top) / statistics.median(bottom), ratios[int(rounds * 0.025)], ratios[int(rounds * 0.975) - 1])


def in_turns(pairs, *works):
    """Each work once a pair, whoever begins changing; returns one list a work."""
    results = [[] for _ in works]
    for pair in range(pairs):
        for i in range(len(works)):
            chosen = (i + pair) % len(works)
            results[chosen].append(works[chosen](pair))
    return results


def pretend_kvm(folder):
    """Whether hypervisors that need KVM can be stood in for: no guest runs, so the processor need not have it."""
    if not os.path.exists("/dev/kvm"):
        return False
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        if re.search(r"\b(vmx|svm)\b", file.read()):
            return True
    with open(os.path.join(folder, "cpuinfo"), "w", encoding="utf-8") as file:
        file.write("flags\t\t: fpu vmx\n")
    subprocess.run(["mount", "--bind", os.path.join(folder, "cpuinfo"), "/proc/cpuinfo"], check=True)
    return True


class Bench:
    """All rows."""

    def __init__(self, options):
        self.options = options
        self.ours_dir = os.path.join(options.root, "build/release/bin")
        self.upstream_dir = os.path.join(options.root, "build/harness", "bin-static" if options.static else "bin")
        timed = os.path.join(options.root, "build/bench/timed")
        self.ours, self.upstream = Host("ours", timed), Host("theirs", timed)
        self.table = Table(options.smoke, options.only)
        self.pairs = 3 if options.smoke else options.pairs
        self.made = 0

    def new_netns(self, prefix, count):
        for number in range(count):
            if not os.path.exists(f"{NETNS}{prefix}{number}"):
                subprocess.run(["ip", "netns", "add", f"{prefix}{number}"], check=True)

    # The networks.

    def our_network(self, name, private, firewall=True, **keys):
        self.made += 1
        plugins = [{"type": "slicer-bridge", "bridge": f"sb{self.made}", "isGateway": True, "ipMasq": firewall,
                    "ipam": {"type": "slicer-ipam", "subnet": f"10.{100 + self.made}.0.0/16", "routes": [{"dst": "0.0.0.0/0"}]},
                    **keys}]
        if firewall:
            plugins.append({"type": "slicer-firewall"})
        place = (NETNS + "o", "tap0") if private else (NETNS + "ours", f"t{self.made}x")
        return Network(self.ours, self.ours_dir, name, plugins, *place)

    def upstream_network(self, name, firewall=True):
        self.made += 1
        plugins = [{"type": "bridge", "bridge": f"ub{self.made}", "isGateway": True, "ipMasq": firewall,
                    "ipam": {"type": "host-local", "subnet": f"10.{100 + self.made}.0.0/16", "routes": [{"dst": "0.0.0.0/0"}]}}]
        if firewall:
            plugins.append({"type": "firewall"})
        return Network(self.upstream, self.upstream_dir, name, plugins, NETNS + "u", "eth0")

    # The rows.

    def version(self):
        def call(host, program):
            step = Step(program, "VERSION", {"cniVersion": "1.0.0"}, ("x", "/none", "x"))
            return lambda _: host.measure([[step]])[0]
        pairs = self.pairs * 5
        ours, theirs, true = in_turns(pairs, call(self.ours, os.path.join(self.ours_dir, "slicer-bridge")),
                                      call(self.upstream, os.path.join(self.upstream_dir, "bridge")),
                                      call(self.ours, "/bin/true"))
        self.table.ratio("VERSION: slicer-bridge / upstream's bridge", ours, theirs, at_least=5)
        self.table.ratio("VERSION: slicer-bridge / true", ours, true, at_most=1.2, what=("slicer", "true"))

    def add_and_delete(self, label, our, upstream, add_target, del_targets=None):
        """ADD and DEL of one attachment beside another: bridge, constant rules and forwarding are a network's once, and
        the kernel patches its code for a host's first traffic filter and back for the last."""
        standing = [(network, network.add(0)[1]) for network in (our, upstream)]
        adds, notices, barriers = ([], []), [], []
        dels = ([], [])
        for pair in range(self.pairs):
            order = [0, 1] if pair % 2 == 0 else [1, 0]
            results = {}
            for i in order:
                elapsed, results[i] = (our, upstream)[i].add(1)
                adds[i].append(elapsed)
            for i in order:
                elapsed = (our, upstream)[i].delete(1, results[i])
                dels[i].append(elapsed)
            # Once more, this time until the child that waits for the kernel has ended.
            _, result = our.add(1)
            barriers.append(our.delete(1, result, AWAIT_ORPHANS))
            notices.append(dels[0][-1])
        for network, result in standing:
            network.delete(0, result, AWAIT_ORPHANS)
        self.table.ratio(f"ADD {label}", adds[0], adds[1], at_least=add_target)
        if del_targets:
            self.table.ratio(f"DEL {label}, at the kernel's notice", notices, dels[1], at_least=del_targets[0])
            self.table.ratio(f"DEL {label}, after the RCU barrier", barriers, dels[1], at_least=del_targets[1])

    def chains(self):
        self.new_netns("u", 2)
        self.new_netns("o", 2)
        if self.table.wants("ADD chain"):
            self.add_and_delete("chain, TAP in the host's namespace", self.our_network("hosttap", private=False),
                                self.upstream_network("chain1"), 20, (40, 4))
        if self.table.wants("ADD private"):
            self.add_and_delete("chain, private namespace", self.our_network("private", private=True),
                                self.upstream_network("chain2"), 15, (None, None))
        if self.table.wants("ADD plain"):
            self.add_and_delete("bridge + IPAM alone", self.our_network("plain", private=False, firewall=False),
                                self.upstream_network("plain", firewall=False), 9)

    def fill(self, program, network, count):
        """An IPAM network with `count` allocations of others, as that program left them."""
        folder = tempfile.mkdtemp(dir="/var/lib/cni")
        data = os.path.join(folder, network)
        os.makedirs(data)
        for number in range(count):
            address = f"10.0.{(number + 2) // 256}.{(number + 2) % 256}"
            with open(os.path.join(data, address), "w", encoding="ascii", newline="") as file:
                file.write(f"old{number}\r\neth0")
        with open(os.path.join(data, "last_reserved_ip.0"), "w", encoding="ascii") as file:
            file.write(f"10.0.{(count + 1) // 256}.{(count + 1) % 256}")
        return {"cniVersion": "1.0.0", "name": network, "type": "any",
                "ipam": {"type": program, "dataDir": folder, "subnet": "10.0.0.0/16"}}

    def ipam(self):
        sizes = [10, 200] if self.options.smoke else [10, 1000, 10000, 60000]
        targets = {} if self.options.smoke else {10: 6, 10000: 100}
        calls, times = {}, {}
        for host, folder, program in ((self.ours, self.ours_dir, "slicer-ipam"), (self.upstream, self.upstream_dir, "host-local")):
            for size in sizes:
                conf = self.fill(program, f"pool{size}", size)
                calls[host, size] = {
                    verb: Step(os.path.join(folder, program), verb, conf, ("new", NETNS + "none", "eth0"))
                    for verb in ("ADD", "DEL")}
                host.measure([[calls[host, size]["ADD"]]])
                host.measure([[calls[host, size]["DEL"]]])
        for pair in range(self.pairs):
            for size in sizes:
                for host in ((self.ours, self.upstream), (self.upstream, self.ours))[pair % 2]:
                    for verb in ("ADD", "DEL"):
                        elapsed = host.measure([[calls[host, size][verb]]])[0]
                        times.setdefault((host, size, verb), []).append(elapsed)
        for size in sizes:
            for verb in ("ADD", "DEL"):
                self.table.ratio(f"IPAM {verb} at {size} allocations", times[self.ours, size, verb],
                                 times[self.upstream, size, verb], at_least=targets.get(size) if verb == "ADD" else None)
        self.table.ratio(f"IPAM ADD at {sizes[-1]} / at {sizes[0]} allocations", times[self.ours, sizes[-1], "ADD"],
                         times[self.ours, sizes[0], "ADD"], at_most=2, what=("many", "few"))

    def parallel(self):
        count, rounds = (20, 2) if self.options.smoke else (200, 5)
        our, upstream = self.our_network("many", private=False), self.upstream_network("many")
        self.new_netns("m", count)
        upstream.netns = NETNS + "m"
        for network in (our, upstream):
            network.delete(0, network.add(0)[1], AWAIT_ORPHANS)
        rates = ([], [])
        for round_ in range(rounds):
            for i in ((0, 1), (1, 0))[round_ % 2]:
                network = (our, upstream)[i]
                chains = [network.steps("ADD", number) for number in range(count)]
                rates[i].append(network.host.measure(chains, workers=16)[0] / count)
                network.host.measure([network.steps("DEL", number, None)[::-1] for number in range(count)],
                                     AWAIT_ORPHANS, workers=16)
        self.table.ratio(f"{count} ADDs, 16 at a time (per ADD)", *rates, at_least=20)

    def backends(self):
        """The same chain with rules in nf_tables and in the legacy tables, each on a host of its own."""
        legacy = Host("legacy", os.path.join(self.options.root, "build/bench/timed"))
        for count in (0, 10, 100 if self.options.smoke else 10000):
            networks = (self.our_network(f"nft{count}", private=False), self.our_network(f"ipt{count}", private=False))
            networks[1].host, networks[1].netns = legacy, NETNS + "legacy"
            networks[1].plugins[0]["ipMasqBackend"] = networks[1].plugins[1]["backend"] = "iptables"
            for network in networks:
                network.plugins[1]["drop"] = [f"172.{16 + i // 8192}.{i // 32 % 256}.{i % 32 * 8}/30" for i in range(count)]
            standing = [network.add(0)[1] for network in networks]
            dels = ([], [])

            def add_and_delete(i):
                def work(_):
                    elapsed, result = networks[i].add(1)
                    dels[i].append(networks[i].delete(1, result, AWAIT_ORPHANS))
                    return elapsed
                return work
            nft, ipt = in_turns(self.pairs, add_and_delete(0), add_and_delete(1))
            what = {"what": ("nftables", "iptables")}
            self.table.ratio(f"ADD chain by backend, {count} entries", nft, ipt, **what)
            self.table.ratio(f"DEL chain by backend, {count} entries", *dels, **what)
            for network, result in zip(networks, standing):
                network.delete(0, result, AWAIT_ORPHANS)

    def traced(self, step, result):
        """One ADD under strace: its result, the netfilter sockets it opened, the netfilter changes it sent."""
        conf = dict(step.conf, **({"prevResult": result} if result else {}))
        owner, netns, ifname = step.attachment
        environment = dict(os.environ, CNI_COMMAND="ADD", CNI_CONTAINERID=owner, CNI_NETNS=netns, CNI_IFNAME=ifname,
                           CNI_PATH=self.ours_dir)
        with tempfile.NamedTemporaryFile(mode="r", prefix="strace") as trace:
            done = subprocess.run(["ip", "netns", "exec", "ours", "strace", "-f", "-v", "-s", "100000", "-o", trace.name,
                                   "-e", "trace=socket,sendto,sendmsg", step.program],
                                  input=json.dumps(conf), env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise Failure(f"ADD under strace: {done.stdout}{done.stderr}")
            text = trace.read()
        sockets = len(re.findall(r"NETLINK_NETFILTER\) = \d", text))
        changes = len(re.findall(r"NFNL_MSG_BATCH_BEGIN|NFT_MSG_(?:NEW|DEL)", text))
        return json.loads(done.stdout), sockets, changes

    def traced_chain(self, network, number):
        result, sockets, changes = None, 0, 0
        for step in network.steps("ADD", number):
            result, more_sockets, more_changes = self.traced(step, result)
            sockets, changes = sockets + more_sockets, changes + more_changes
        return result, sockets, changes

    def counts(self):
        """What the default path asks of netfilter, and what memory a plugin takes."""
        self.new_netns("o", 2)
        for private in (False, True):
            place = "private namespace" if private else "host's namespace"
            network = self.our_network(f"counts{private}", private)
            if not self.traced_chain(network, 0)[2]:
                raise Failure("the first ADD of a network shows no netfilter change: the count is blind")
            result, sockets, changes = self.traced_chain(network, 1)
            self.table.fact(f"netfilter sockets of an ADD chain, {place}", sockets, 2, "")
            self.table.fact(f"netfilter changes of an ADD chain, {place}", changes, 0, "")
            for number in (0, 1):
                network.delete(number, result, AWAIT_ORPHANS)
            # One call at a time, so that the peak is that program's own.
            result = None
            for step in network.steps("ADD", 1):
                if result:
                    step.conf["prevResult"] = result
                result = json.loads(self.ours.measure([[step]], AWAIT_ORPHANS)[1])
            for step in network.steps("DEL", 1, result):
                self.ours.measure([[step]], AWAIT_ORPHANS)
        for name, peak in sorted(self.ours.peak_kib.items()):
            if name.startswith("slicer-"):
                self.table.fact(f"peak memory of {name}", peak / 1024, 8, "MiB")

    def runner(self):
        """What `slicer-run vm new` adds to its chain before the hypervisor runs; the chain alone is timed beside it."""
        folder = tempfile.mkdtemp(dir="/run")
        os.chmod(folder, 0o755)  # slicer-vm comes here
        for name in ("qemu-system-x86_64", "firecracker", "cloud-hypervisor", "jailer"):
            shutil.copy(os.path.join(self.options.root, "build/bench/stamp"), os.path.join(folder, name))
        with open(os.path.join(folder, "time"), "w", encoding="ascii"):
            os.chmod(os.path.join(folder, "time"), 0o666)
        self.ensure_hypervisor_user(folder)
        conflist = os.path.join(self.options.root, "conflist", "51-slicer.conflist")
        with open(conflist, encoding="utf-8") as file:
            plugins = json.load(file)["plugins"]
        chain = Network(self.ours, self.ours_dir, "slicer", plugins, NETNS + "ours", "vmtap9")

        def chain_alone(_):
            elapsed, result = chain.add(1)
            chain.delete(1, result, AWAIT_ORPHANS)
            return elapsed
        chain_alone(0)  # the network's own part
        kinds = {"": ["--accel", "tcg"]}
        if pretend_kvm(folder):
            kinds.update({", firecracker": ["--hypervisor", "firecracker"],
                          ", firecracker by its jailer": ["--hypervisor", "firecracker", "--jailer"],
                          ", cloud-hypervisor": ["--hypervisor", "cloud-hypervisor"]})
        else:
            print("runner: Firecracker and Cloud Hypervisor not measured, there is no /dev/kvm", flush=True)
        works = [lambda _, words=words: self.vm_new(folder, os.path.dirname(conflist), words) for words in kinds.values()]
        alone, *whole = in_turns(self.pairs, chain_alone, *works)
        for kind, times in zip(kinds, whole):
            self.table.fact(f"slicer-run vm new until the hypervisor runs, less the chain{kind}",
                            statistics.median(a - b for a, b in zip(times, alone)), 10, "ms", timing=True)

    def ensure_hypervisor_user(self, folder):
        """The account slicer-vm, for the time of the run, where the host has none."""
        for name, line in (("passwd", "slicer-vm:x:990:990::/nonexistent:/usr/sbin/nologin"), ("group", "slicer-vm:x:990:")):
            with open(f"/etc/{name}", encoding="utf-8") as file:
                text = file.read()
            if "slicer-vm:" not in text:
                with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                    file.write(text + line + "\n")
                subprocess.run(["mount", "--bind", os.path.join(folder, name), f"/etc/{name}"], check=True)

    def vm_new(self, folder, conflists, words):
        """Milliseconds from just before slicer-run's exec to just after the hypervisor's."""
        started = os.path.join(folder, "started")
        command = ["ip", "netns", "exec", "ours", os.path.join(self.options.root, "build/bench/stamp"), started,
                   os.path.join(self.ours_dir, "slicer-run"), "--cni-conf-dir", conflists, "--cni-path", self.ours_dir,
                   "vm", "new", "bench", "--network", "slicer", "--kernel", "/bin/true", "--cmdline", "x", *words]
        environment = dict(os.environ, PATH=folder + ":" + os.environ["PATH"])
        with open(os.path.join(folder, "time"), "w", encoding="ascii"):
            pass
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        times = []
        for name in (started, os.path.join(folder, "time")):
            with open(name, encoding="ascii") as file:
                times.append(file.read().strip())
        if not all(times):
            raise Failure(f"slicer-run vm new did not get as far as its hypervisor: {done.stderr}")
        return (int(times[1]) - int(times[0])) / 1e6

    def run(self):
        vms = Vms(self, Network, in_turns, AWAIT_ORPHANS, pretend_kvm)
        for name, row in (("VERSION", self.version), ("ADD", self.chains), ("IPAM", self.ipam),
                          ("ADDs, 16 at a time", self.parallel), ("by backend", self.backends), ("counts", self.counts),
                          ("runner", self.runner), ("isolated", Isolated(self, Network, AWAIT_ORPHANS).run),
                          ("macvtap", Macvtap(self, Network, in_turns, AWAIT_ORPHANS).run),
                          ("supervisors", vms.many), ("vms", vms.run)):
            if self.options.smoke and name == "vms":
                continue  # real hypervisors: not for a run that only shows that the bench works
            if self.table.only is None or self.table.only in name or name in self.table.only:
                row()

    def write(self):
        path = self.options.json or os.path.join(self.options.root, "build/bench/bench.json")
        with open(path, "w", encoding="utf-8") as file:
            build = "as its releases, without cgo" if self.options.static else "by go install's defaults, with cgo"
            json.dump({"upstream": f"plugins v1.9.1, built {build}; default backends: {default_backends()}",
                       "kernel": os.uname().release, "cores": os.cpu_count(), "rows": self.table.rows}, file, indent=1)
        print(f"written: {path}")


def default_backends():
    """Upstream's plugins take iptables where it is there, and firewalld where that runs (it does not here)."""
    iptables = subprocess.run(["iptables", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    return f"ipMasq and firewall by {iptables or 'nftables (no iptables here)'}"


def main():
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("--root", required=True)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--json")
    parser.add_argument("--only")
    parser.add_argument("--static", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    bench = Bench(parser.parse_args())
    print(f"upstream's default backends: {default_backends()}\n")
    try:
        bench.run()
    except Failure as failure:
        print(f"bench: {failure}")
        return 1
    bench.write()
    if bench.table.missed:
        print(f"missed: {', '.join(bench.table.missed)}")
    return 1 if bench.table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
