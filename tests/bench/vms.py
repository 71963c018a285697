"""The rows of slicer-run: what it adds to a VM's start, what a supervisor takes, how fast a forwarded port and a long list
are. Real QEMUs with a kernel that halts at once; for many VMs at a time, programs that stand in for the hypervisors."""

import json
import os
import re
import shutil
import statistics
import struct
import subprocess
import tempfile
import time


def halting_kernel(path):
    """Multiboot 1 (GNU Multiboot specification, 3.1): QEMU jumps to `cli; hlt; jmp`."""
    magic, flags, base, code = 0x1BADB002, 0x10000, 0x100000, b"\xfa\xf4\xeb\xfd"
    end = base + 32 + len(code)
    header = struct.pack("<8I", magic, flags, -(magic + flags) & 0xFFFFFFFF, base, base, end, 0, base + 32)
    with open(path, "wb") as file:
        file.write(header + code)


def quietly(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=True, **options).stdout


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_"))


def spent_ns(pid):
    """Of all processors, since its start."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0])


class Links:
    """Tells when a link of a namespace got its carrier: a TAP's, when somebody has opened it."""

    def __init__(self, netns):
        self.process = subprocess.Popen(["ip", "-ts", "-n", netns, "monitor", "link"], stdout=subprocess.PIPE, text=True)

    def carrier_of(self, link, limit=30):
        """Seconds since the epoch."""
        end = time.time() + limit
        for line in self.process.stdout:
            stamp = re.match(r"\[(\S+)\]", line)
            if f" {link}: " in line and "LOWER_UP" in line:
                day, clock = stamp.group(1).split("T")
                seconds, fraction = clock.split(".")
                return time.mktime(time.strptime(f"{day} {seconds}", "%Y-%m-%d %H:%M:%S")) + float("0." + fraction)
            if time.time() > end:
                break
        raise RuntimeError(f"link {link} got no carrier")

    def close(self):
        self.process.kill()
        self.process.wait()


class Vms:
    """Rows; `bench` has the hosts and the table, `network` is its class of networks."""

    def __init__(self, bench, network, in_turns, await_orphans, pretend_kvm):
        self.bench, self.network, self.in_turns, self.await_orphans = bench, network, in_turns, await_orphans
        self.pretend_kvm = pretend_kvm
        self.folder, self.plugins = None, None

    # What the rows stand on.

    def prepare(self):
        if self.folder:
            return
        self.folder = tempfile.mkdtemp(dir="/run")
        os.chmod(self.folder, 0o755)  # slicer-vm comes here
        halting_kernel(os.path.join(self.folder, "kernel"))
        self.bench.ensure_hypervisor_user(self.folder)
        self.plugins = [{"type": "slicer-bridge", "bridge": "vmsbr0", "isGateway": True,
                         "ipam": {"type": "slicer-ipam", "subnet": "10.240.0.0/16"}}]
        os.makedirs(os.path.join(self.folder, "nets"))
        with open(os.path.join(self.folder, "nets", "vms.conflist"), "w", encoding="utf-8") as file:
            json.dump({"cniVersion": "1.0.0", "name": "vms", "netns": "host", "tap_prefix": "vms",
                       "plugins": self.plugins}, file)

    def slicer_run(self, *words):
        return ["ip", "netns", "exec", self.bench.ours.name, os.path.join(self.bench.ours_dir, "slicer-run"),
                "--cni-conf-dir", os.path.join(self.folder, "nets"), "--cni-path", self.bench.ours_dir, *words]

    def start(self, name):
        quietly(*self.slicer_run("vm", "new", name, "--network", "vms", "--kernel", os.path.join(self.folder, "kernel"),
                                 "--cmdline", "x", "--ram-mb", "16", "--accel", "tcg"))

    def remove(self, name):
        quietly(*self.slicer_run("vm", "rm", "--now", name))

    def vm(self, name):
        return next(vm for vm in json.loads(quietly(*self.slicer_run("list", "--json"))) if vm["name"] == name)

    # The rows.

    def tap_opened(self):
        """From the command to the TAP's carrier, beside QEMU by hand on a TAP that is ready; the plugins' own time is
        taken off."""
        self.prepare()
        host = self.bench.ours.name
        chain = self.network(self.bench.ours, self.bench.ours_dir, "vms", self.plugins, f"/run/netns/{host}", "vms9")
        chain.delete(9, chain.add(9)[1], self.await_orphans)  # the network's own part
        subprocess.run(["ip", "-n", host, "tuntap", "add", "hand0", "mode", "tap"], check=True)
        subprocess.run(["ip", "-n", host, "link", "set", "hand0", "up"], check=True)

        def alone(_):
            elapsed, result = chain.add(9)
            chain.delete(9, result, self.await_orphans)
            return elapsed

        def ours(_):
            links = Links(host)
            time.sleep(0.05)  # the monitor's socket
            begun = time.time()
            self.start("tap")
            opened = links.carrier_of("vms0")
            links.close()
            self.remove("tap")
            return (opened - begun) * 1000

        def by_hand(_):
            links = Links(host)
            time.sleep(0.05)
            begun = time.time()
            qemu = subprocess.Popen(
                ["ip", "netns", "exec", host, "qemu-system-x86_64", "-machine", "q35,accel=tcg", "-m", "16", "-nodefaults",
                 "-display", "none", "-kernel", os.path.join(self.folder, "kernel"), "-netdev",
                 "tap,id=n0,ifname=hand0,script=no,downscript=no", "-device", "virtio-net-pci,netdev=n0"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            opened = links.carrier_of("hand0")
            links.close()
            qemu.kill()
            qemu.wait()
            return (opened - begun) * 1000
        whole, chains, hand = self.in_turns(max(3, self.bench.pairs // 4), ours, alone, by_hand)
        self.bench.table.ratio("TAP opened: slicer-run vm new / QEMU by hand", whole, hand, what=("slicer", "by hand"))
        self.bench.table.fact("TAP opened later than by QEMU by hand, less the chain",
                              statistics.median(a - b for a, b in zip(whole, chains)) - statistics.median(hand), 10, "ms",
                              timing=True)

    def supervisor(self):
        """Its private memory, and the time on processors that it takes while nothing happens."""
        self.prepare()
        self.start("idle")
        pid = self.vm("idle")["supervisorPid"]
        self.bench.table.fact("a supervisor's private memory", private_kib(pid) / 1024, 4, "MiB")
        seconds = 4 if self.bench.options.smoke else 20
        time.sleep(1)
        before = spent_ns(pid)
        time.sleep(seconds)
        self.bench.table.fact("a supervisor's processor time, idle, a second", (spent_ns(pid) - before) / seconds / 1e6, 0.1,
                              "ms", timing=True)
        self.remove("idle")

    def many(self):
        """What 100 supervisors take while nothing happens, by hypervisor: a program stands in for it, as supervisors do not
        know what a guest does."""
        self.prepare()
        programs = os.path.join(self.folder, "bin")
        os.makedirs(programs, exist_ok=True)
        for name in ("qemu-system-x86_64", "firecracker", "cloud-hypervisor"):
            shutil.copy(os.path.join(self.bench.options.root, "build/bench/vmm"), os.path.join(programs, name))
        kinds = {"qemu": ["--accel", "tcg"]}
        if self.pretend_kvm(self.folder):
            kinds.update({kind: ["--hypervisor", kind] for kind in ("firecracker", "cloud-hypervisor")})
        else:
            print("supervisors: Firecracker and Cloud Hypervisor not measured, there is no /dev/kvm", flush=True)
        for kind, words in kinds.items():
            self.many_of(kind, words, dict(os.environ, PATH=programs + ":" + os.environ["PATH"]))

    def many_of(self, kind, words, environment):
        count, seconds = (10, 2) if self.bench.options.smoke else (100, 10)
        names = [f"many-{number}" for number in range(count)]
        for name in names:
            quietly(*self.slicer_run("vm", "new", name, "--network", "vms", "--kernel", "/bin/true", "--cmdline", "x",
                                     "--ram-mb", "16", *words), env=environment)
        pids = [vm["supervisorPid"] for vm in json.loads(quietly(*self.slicer_run("list", "--json")))]
        if len(pids) != count:
            raise RuntimeError(f"{len(pids)} of {count} VMs run")
        before = sum(spent_ns(pid) for pid in pids)
        time.sleep(seconds)
        idle = (sum(spent_ns(pid) for pid in pids) - before) / seconds / 1e6
        self.bench.table.fact(f"private memory of the largest of {count} supervisors, {kind}",
                              max(private_kib(pid) for pid in pids) / 1024, 4, "MiB")
        self.bench.table.fact(f"processor time of {count} idle supervisors, a second, {kind}", idle, 1, "ms", timing=True)
        for name in names:
            self.remove(name)

    def long_list(self):
        """200 records of one VM that runs: each costs what a VM costs."""
        self.prepare()
        self.start("first")
        state = "/run/slicer"
        with open(f"{state}/first/state.json", encoding="utf-8") as file:
            record = json.load(file)
        names = [f"copy-{number}" for number in range(199)]
        for name in names:
            os.mkdir(f"{state}/{name}", 0o700)
            with open(f"{state}/{name}/state.json", "w", encoding="utf-8") as file:
                json.dump({**record, "name": name}, file)
        times = []
        for _ in range(self.bench.pairs):
            begun = time.monotonic()
            text = quietly(*self.slicer_run("list", "--json"))
            times.append((time.monotonic() - begun) * 1000)
        if len(json.loads(text)) != 200:
            raise RuntimeError("list does not show 200 VMs")
        enter = []
        for _ in range(self.bench.pairs):
            begun = time.monotonic()
            quietly("ip", "netns", "exec", self.bench.ours.name, "/bin/true")
            enter.append((time.monotonic() - begun) * 1000)
        for name in names:
            shutil.rmtree(f"{state}/{name}")
        self.remove("first")
        self.bench.table.fact("slicer-run list of 200 VMs", statistics.median(times) - statistics.median(enter), 20, "ms",
                              timing=True)

    def forward(self):
        """One connection's bytes from the VM's address, by `vm port-forward` and by socat. A namespace on the bridge has the
        guest's MAC and address: an emulated guest would be the slowest part by far."""
        if not shutil.which("socat"):
            print("forward: not measured, there is no socat here", flush=True)
            return
        self.prepare()
        self.start("served")
        vm, host = self.vm("served"), self.bench.ours.name
        self.bench.new_netns("served", 1)
        for command in ("link add served-b type veth peer name eth0 netns served0", "link set served-b master vmsbr0",
                        "link set served-b up", "link set vms0 down"):
            subprocess.run(["ip", "-n", host, *command.split()], check=True)
        for command in (f"link set eth0 address {vm['mac']}", f"addr add {vm['addresses'][0]} dev eth0",
                        "link set eth0 up", "link set lo up"):
            subprocess.run(["ip", "-n", "served0", *command.split()], check=True)
        subprocess.run(["bridge", "-n", host, "fdb", "replace", vm["mac"], "dev", "served-b", "master", "static"], check=True)
        address = vm["addresses"][0].split("/")[0]
        size = 16 << 20 if self.bench.options.smoke else 1 << 30
        background = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for command in (
            ["ip", "netns", "exec", "served0", "socat", "-b", "262144", "-u", "OPEN:/dev/zero", "TCP-LISTEN:9000,fork,reuseaddr"],
            self.slicer_run("vm", "port-forward", "served", "9001:9000"),
            ["ip", "netns", "exec", host, "socat", "-b", "262144", "TCP-LISTEN:9002,bind=127.0.0.1,fork,reuseaddr",
             f"TCP:{address}:9000"])]

        def fetch(port):
            def work(_):
                command = f"socat -b 262144 -u TCP:127.0.0.1:{port},retry=50,interval=0.1 - | head -c {size} | wc -c"
                begun = time.monotonic()
                got = quietly("ip", "netns", "exec", host, "sh", "-c", command)
                if int(got) != size:
                    raise RuntimeError(f"port {port} gave {got.strip()} of {size} bytes")
                return (time.monotonic() - begun) * 1000
            return work
        try:
            for port in (9001, 9002):
                fetch(port)(0)
            ours, socat = self.in_turns(max(3, self.bench.pairs // 8), fetch(9001), fetch(9002))
            # 80 % of its throughput: 1.25 times its time.
            self.bench.table.ratio(f"{size >> 20} MiB by vm port-forward / by socat", ours, socat, at_most=1.25,
                                   what=("slicer", "socat"))
        finally:
            for process in background:
                process.kill()
                process.wait()
            subprocess.run(["ip", "-n", host, "link", "del", "served-b"], check=False)
            self.remove("served")

    def run(self):
        for name, row in (("vms TAP", self.tap_opened), ("vms supervisor", self.supervisor), ("vms list", self.long_list),
                          ("vms forward", self.forward)):
            if self.bench.table.only in (None, "vms", name):
                row()
