// Host groups over time: VMs one by one, an edited file, VMs that die and come back.
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <optional>

#include "tests/system/runner/group_support.h"

namespace slicer::test {
namespace {

using namespace std::chrono_literals;
using Names = std::set<std::string>;

std::string addresses() { return "        addresses: [192.0.2.30, 192.0.2.20, 192.0.2.10]\n"; }

}  // namespace

TEST_CASE("runner vm new GROUP: the next VM of a group that is up, with its values and its address") {
  const GroupHost machine;
  write_groups(group_text("vm", 0, std::string(kBridgeGroup) + addresses()));
  const Outcome made = up();
  INFO(made.out << made.err);
  REQUIRE(made.ok());
  CHECK(made.out == "host group 'vm': count is 0, so no VM is booted; slicer-run vm new vm boots one\n");
  const Outcome first = Runner::run("vm new vm");
  INFO(first.err);
  CHECK(first.out.starts_with("vm-1 runs: 192.0.2.30/24 on network 'vm'"));
  CHECK(Runner::run("vm new vm --vcpu 2").out.starts_with("vm-2 runs: 192.0.2.20/24"));
  CHECK(Runner::vm("vm-2")["vcpus"] == 2);
  CHECK(Runner::vm("vm-1")["ramMb"] == 16);
  REQUIRE(Runner::run("vm rm vm-1").ok());
  CHECK(Runner::run("vm new vm").out.starts_with("vm-1 runs: 192.0.2.30/24"));
  CHECK(Runner::run("vm new vm builder").out.starts_with("builder runs: 192.0.2.10/24"));
  const Outcome taken = Runner::run("vm new vm vm-3");
  CHECK(taken.exit_code == 1);
  CHECK(taken.err.find("192.0.2.10") != std::string::npos);
  REQUIRE(Runner::run("vm rm builder").ok());
  REQUIRE(Runner::run("vm new vm").ok());
  const Outcome fourth = Runner::run("vm new vm");
  CHECK(fourth.err.starts_with("slicer-run: host group 'vm': all of its 3 VMs, vm-1 to vm-3, are there\n"));
  CHECK(vm_names() == Names{"vm-1", "vm-2", "vm-3"});
  CHECK(Runner::run("down vm").ok());
  CHECK(vm_names().empty());
  CHECK(Runner::run("vm new vm").err.find("network 'slicer'") != std::string::npos);  // a VM by itself again
  CHECK(Runner::run("vm new vm builder").err.starts_with("slicer-run: no host group 'vm' is up\n"));
}

TEST_CASE("runner vm new GROUP --file: without an up before, and two at once get two numbers") {
  const GroupHost machine;
  write_groups(group_text("sandbox", 0, kIsolatedGroup));
  const std::string before = group_leftovers();
  const Background other(Runner::argv("vm new sandbox --file " + std::string(kGroupFile)), "");
  const Outcome one = Runner::run("vm new sandbox --file " + std::string(kGroupFile));
  INFO(one.err);
  CHECK(one.ok());
  CHECK(eventually([] { return running_vms() == 2; }, 20s));
  CHECK(vm_names() == Names{"sandbox-1", "sandbox-2"});
  CHECK(Runner::start("sandbox").ok());  // with --network: a VM by itself
  CHECK(Runner::vm("sandbox")["network"] == "host");
  CHECK(Runner::run("vm rm sandbox").ok());
  const Outcome wrong = Runner::run("vm new other --file " + std::string(kGroupFile));
  CHECK(wrong.err.starts_with("slicer-run: '/run/groups.yaml' has no host group 'other'\n"));
  CHECK(Runner::run("down sandbox").ok());
  CHECK(group_leftovers() == before);
}

TEST_CASE("runner up: again after an edit, only what differs is changed") {
  const GroupHost machine;
  write_groups(group_text("vm", 2, kBridgeGroup));
  REQUIRE(up().ok());
  const pid_t first = supervisor_of("vm-1");
  REQUIRE(Runner::run("vm new vm extra").ok());

  write_groups(group_text("vm", 3, kBridgeGroup));
  CHECK(up().out.starts_with("vm-3 runs: "));
  write_groups(group_text("vm", 1, kBridgeGroup));
  const Outcome lowered = up();
  INFO(lowered.out << lowered.err);
  CHECK(lowered.ok());
  CHECK(vm_names() == Names{"extra", "vm-1"});

  write_groups(group_text("vm", 1, std::string(kBridgeGroup) + "        drop: [198.51.100.3]\n"));
  const Outcome lists = up();
  CHECK(lists.out.find("reloaded vm-1 (vmtap") != std::string::npos);
  CHECK(Runner::run("vm firewall vm-1").out.find("198.51.100.3") != std::string::npos);
  CHECK(up().out == "");  // taken over already
  CHECK(supervisor_of("vm-1") == first);

  write_groups(group_text("vm", 1, "      vcpu: 2\n" + std::string(kBridgeGroup) + "        drop: [198.51.100.3]\n"));
  CHECK(up().err ==
        "slicer-run: vm-1 runs already, with another vcpu than the file says; to make it anew: slicer-run up "
        "--recreate\n");
  CHECK(supervisor_of("vm-1") == first);
  const Outcome anew = up("--detach --recreate");
  INFO(anew.out << anew.err);
  CHECK(anew.ok());
  CHECK(Runner::vm("vm-1")["vcpus"] == 2);
  CHECK(supervisor_of("vm-1") != first);
  CHECK(Runner::run("down vm").ok());
  CHECK(vm_names().empty());
}

TEST_CASE("runner up: takes over from a keeper in the background, and boots what vm stop kept") {
  const GroupHost machine;
  write_groups(group_text("vm", 1, "      restart: always\n" + std::string(kBridgeGroup)));
  REQUIRE(up().ok());
  const pid_t first = supervisor_of("vm-1");
  const Background foreground(Runner::argv("up " + std::string(kGroupFile)), "");
  const auto keeper = [] {
    const Json lock = Json::parse(contents("/run/slicer/.group-vm.lock"), nullptr, false);
    return lock.is_object() ? lock.value("pid", 0) : 0;
  };
  REQUIRE(eventually([&] { return keeper() == foreground.pid(); }, 20s));
  CHECK(supervisor_of("vm-1") == first);
  const Outcome again = up("");
  CHECK(again.ok());
  CHECK(again.err.find("process " + std::to_string(foreground.pid()) + " keeps the VMs") != std::string::npos);

  REQUIRE(Runner::run("vm stop vm-1").ok());
  CHECK(Runner::vm("vm-1")["state"] == "stopped");
  CHECK(up("").out.starts_with("vm-1 runs: "));
  REQUIRE(kill(foreground.pid(), SIGTERM) == 0);
  CHECK(eventually([&] { return !runs(foreground.pid()); }, 30s));
  CHECK(vm_names().empty());
}

TEST_CASE("runner down: one of two groups that one up keeps") {
  const GroupHost machine;
  const std::string other = "      network:\n        mode: isolated\n        range: \"169.254.104.0/24\"\n";
  write_groups(group_text("a", 1, kIsolatedGroup) + group_text("b", 1, other));
  const Background both(Runner::argv("up " + std::string(kGroupFile)), "");
  REQUIRE(eventually([] { return running_vms() == 2 && exists("/run/slicer/.group-b.json"); }, 20s));
  REQUIRE(eventually([] { return !exists("/run/slicer/.group-a.changes"); }, 20s));
  CHECK(Runner::run("down a").ok());
  CHECK(vm_names() == Names{"b-1"});
  CHECK(runs(both.pid()));
  CHECK(Runner::run("down b").ok());
  CHECK(eventually([&] { return !runs(both.pid()); }));
  CHECK(vm_names().empty());
}

TEST_CASE("runner down: disks stay until they are told to go") {
  const GroupHost machine;
  write_groups(group_text("vm", 1, "      storage: 64M\n" + std::string(kBridgeGroup)));
  const Outcome made = up();
  INFO(made.err);
  REQUIRE(made.ok());
  const Json was = Runner::vm("vm-1");
  const Outcome down = Runner::run("down vm");
  CHECK(down.ok());
  CHECK(down.out.find("kept with their disks: vm-1 (") != std::string::npos);
  CHECK(Runner::vm("vm-1")["state"] == "stopped");
  REQUIRE(up().ok());
  CHECK(Runner::vm("vm-1")["mac"] == was["mac"]);
  CHECK(Runner::vm("vm-1")["addresses"] == was["addresses"]);
  CHECK(Runner::run("down vm --rm").ok());
  CHECK(vm_names().empty());
  CHECK_FALSE(exists("/var/lib/slicer/vms/vm-1"));
}

TEST_CASE("runner up: after a reboot of the host the VMs have the MACs and the addresses that they had") {
  GroupHost machine;
  Runner::use_stand_in();
  std::filesystem::create_directories("/var/lib/slicer/tiny");
  std::filesystem::copy(Runner::kTinyKernel, "/var/lib/slicer/tiny/vmlinux");
  // Fixed addresses, in an order of their own; and a pool, where a kept VM asks for what it had.
  const auto write_file = [] {
    write_groups(
        "    - {name: fixed, count: 2, ram_mb: 16, image: /var/lib/slicer/tiny, network: {gateway: 192.0.2.1/24, "
        "addresses: [192.0.2.30, 192.0.2.20]}}\n"
        "    - {name: disk, count: 2, ram_mb: 16, storage: 16M, image: /var/lib/slicer/tiny, network: {gateway: "
        "198.51.100.65/26, bridge: brdisk0}}\n");
  };
  const Names names = {"disk-1", "disk-2", "fixed-1", "fixed-2"};
  write_file();
  const Outcome first = up();
  INFO(first.out << first.err);
  REQUIRE(first.ok());
  REQUIRE(Runner::run("vm restart --now disk-1").ok());  // the pool goes on behind: a new VM would get another
  std::map<std::string, Json> before;
  for (const std::string& name : names) before[name] = Runner::vm(name);
  CHECK(before["fixed-1"]["addresses"] == Json{"192.0.2.30/24"});
  CHECK(before["fixed-2"]["addresses"] == Json{"192.0.2.20/24"});
  for (const auto& [name, vm] : before) REQUIRE(kill(vm["supervisorPid"], SIGKILL) == 0);
  for (const auto& [name, vm] : before) REQUIRE(eventually([&] { return !runs(vm["hypervisorPid"]); }));
  machine.host.reboot();
  Runner::use_stand_in();
  CHECK(vm_names() == Names{"disk-1", "disk-2"});
  CHECK(running_vms() == 0);
  write_file();
  const Outcome again = up();
  INFO(again.out << again.err);
  REQUIRE(again.ok());
  for (const auto& [name, vm] : before) {
    CAPTURE(name);
    CHECK(Runner::vm(name)["mac"] == vm["mac"]);
    CHECK(Runner::vm(name)["addresses"] == vm["addresses"]);
  }
  CHECK(Runner::run("down " + std::string(kGroupFile) + " --rm").ok());
  CHECK(vm_names().empty());
}

TEST_CASE("runner up: VMs that would share the image's disk are refused before anything is made") {
  const GroupHost machine;
  std::ofstream("/run/image/disk.img") << "a disk";
  std::filesystem::resize_file("/run/image/disk.img", 1U << 20U);
  write_groups(group_text("vm", 2, kBridgeGroup));
  const Outcome refused = up();
  CHECK(refused.exit_code == 1);
  CHECK_MESSAGE(refused.err ==
                    "slicer-run: host group 'vm': 2 VMs cannot share the image's disk "
                    "'/run/image/disk.img'\nslicer-run: hint: give each a disk of its own over it, "
                    "\"storage: 10G\", or set \"count: 1\"\n",
                refused.err);
  CHECK(vm_names().empty());
  write_groups(group_text("vm", 2, "      storage: 64M\n" + std::string(kBridgeGroup)));
  const Outcome made = up();
  CHECK_MESSAGE(made.ok(), made.err);
  CHECK(Runner::run("down vm --rm").ok());
}

TEST_CASE("runner up: a bridge group without a gateway gets a free subnet, and the same one after a reboot") {
  GroupHost machine;
  std::filesystem::create_directories("/var/lib/slicer/tiny");
  std::filesystem::copy(Runner::kTinyKernel, "/var/lib/slicer/tiny/vmlinux");
  const auto write_file = [] {
    write_text(kGroupFile,
               groups_text("    - {name: vm, count: 1, ram_mb: 16, image: /var/lib/slicer/tiny, network: {}}\n"));
  };
  const auto subnet = [] { return std::string(Json::parse(contents("/var/lib/slicer/groups/vm.json"))["subnet"]); };
  // The first choice is taken, now and not after the reboot: what was kept decides then.
  const auto proposed = [] {
    const std::string text = Runner::run("new vm").out;
    const size_t at = text.find("gateway: ") + 9;
    return text.substr(at, text.find('\n', at) - at);
  };
  must("ip addr add " + proposed() + " dev lan0");
  const std::string gateway = proposed();
  write_file();
  REQUIRE(up().ok());
  const std::string first = subnet();
  CHECK(gateway == first.substr(0, first.rfind('.')) + ".1/24");
  CHECK(gateway.starts_with("192.168."));
  CHECK(must("ip -o -4 addr show dev brvm0").find(" " + gateway + " ") != std::string::npos);
  const Json was = Runner::vm("vm-1");
  CHECK(up().err == "slicer-run: vm-1 runs already\n");
  CHECK(subnet() == first);

  REQUIRE(kill(was["supervisorPid"], SIGKILL) == 0);
  REQUIRE(eventually([&] { return !runs(was["hypervisorPid"]); }));
  machine.host.reboot();
  CHECK(Runner::run("vm new vm builder").err.starts_with("slicer-run: no host group 'vm' is up\n"));
  write_file();
  REQUIRE(up().ok());
  CHECK(subnet() == first);
  CHECK(Runner::vm("vm-1")["mac"] == was["mac"]);
  CHECK(must("ip -o -4 addr show dev brvm0").find(" " + gateway + " ") != std::string::npos);

  REQUIRE(Runner::run("down vm").ok());
  must("ip link del brvm0");
  must("ip link add other type veth peer name other-peer");
  must("ip addr add " + gateway + " dev other");
  must("ip link set other up");
  const Outcome moved = up();
  CHECK(moved.ok());
  CHECK(moved.err.starts_with("slicer-run: host group 'vm': its subnet " + first +
                              " is in use by another network now; it gets "));
  CHECK(subnet() != first);
  CHECK(Runner::run("down vm --rm").ok());
  CHECK_FALSE(exists("/var/lib/slicer/groups/vm.json"));
}

TEST_CASE("network show: a group's network, saved as a conflist, does the same") {
  const GroupHost machine;
  const std::string lists = "        drop: [198.51.100.0/24, \"203.0.113.9:80\"]\n";
  write_groups(group_text("vm", 1, std::string(kBridgeGroup) + "        range: 192.0.2.20-192.0.2.20\n" + lists));
  REQUIRE(up().ok());
  const Outcome by_file = Runner::run("network show " + std::string(kGroupFile));
  INFO(by_file.err);
  REQUIRE(by_file.ok());
  CHECK(Runner::run("network show vm").out == by_file.out);
  const auto picture = [] {
    Json vm = lasting("vm-1");
    for (const char* key : {"created", "supervisorPid", "hypervisorPid", "group"}) vm.erase(key);
    return std::vector<std::string>{vm.dump(2), Runner::run("vm firewall vm-1").out,
                                    must("ip -br -4 addr show dev brvm0"), must("nft list ruleset")};
  };
  const std::vector<std::string> before = picture();
  REQUIRE(Runner::run("down vm").ok());
  REQUIRE(Runner::run("network rm vm --purge").ok());
  write_text("/etc/cni/net.d/60-vm.conflist", by_file.out);
  write_groups(group_text("vm", 1, "      network_name: vm\n"));
  const Outcome again = up();
  INFO(again.out << again.err);
  REQUIRE(again.ok());
  const std::vector<std::string> after = picture();
  for (size_t i = 0; i < before.size(); ++i) CHECK(after[i] == before[i]);
  CHECK(Runner::run("network show " + std::string(kGroupFile))
            .err.starts_with("slicer-run: host group 'vm' is on the network 'vm' of the CNI folder\n"));
  CHECK(Runner::run("down vm").ok());
}

TEST_CASE("runner up: what another file's VMs have is not given twice") {
  const GroupHost machine;
  write_text("/run/other.yaml",
             groups_text(group_text("a", 1, "      network: {bridge: br9, gateway: 192.0.2.1/24}\n")));
  REQUIRE(Runner::run("up -d /run/other.yaml").ok());
  write_groups(group_text("b", 1, "      network: {bridge: br9, gateway: 203.0.113.1/24}\n"));
  CHECK(
      up().err.starts_with("slicer-run: network 'b': host group 'a' of '/run/other.yaml' has the bridge \"br9\" too: "
                           "VM 'a-1' runs there\n"));
  write_groups(group_text("b", 1, "      network: {gateway: 192.0.2.129/25}\n"));
  CHECK(up().err.starts_with("slicer-run: network 'b': host group 'a' of '/run/other.yaml' has 192.0.2.128 too"));
  CHECK(vm_names() == Names{"a-1"});
}

TEST_CASE("runner up: killed at any moment, list tells the truth and the next up goes on") {
  const GroupHost machine;
  write_groups(group_text("sandbox", 3, kIsolatedGroup));
  const std::string before = group_leftovers();
  const std::vector<std::function<bool()>> moments = {
      [] { return exists("/run/slicer/.group-sandbox.changes"); },
      [] { return exists("/run/slicer/.group-sandbox.json"); },
      [] { return exists("/run/slicer/sandbox-1"); },
      [] { return exists("/run/slicer/sandbox-1/state.json"); },
      [] { return exists("/run/netns/slicer-sandbox-2"); },
      [] { return running_vms() >= 1; },
      [] { return running_vms() == 3; },
  };
  for (size_t i = 0; i < moments.size(); ++i) {
    CAPTURE(i);
    {
      const Background victim(Runner::argv("up " + std::string(kGroupFile)), "");
      (void)eventually(moments[i], 20s);
    }  // SIGKILL
    // VMs whose answer nobody took end by themselves; those that had been taken run on.
    CHECK(eventually(
        [] {
          const Json all = Json::parse(Runner::run("list --json").out);
          return std::all_of(all.begin(), all.end(),
                             [](const Json& vm) { return vm["state"] == "running" && runs(vm["hypervisorPid"]); });
        },
        30s));
    if (i % 2 == 0) {
      const Outcome again = up();
      INFO(again.out << again.err);
      CHECK(again.ok());
      CHECK(vm_names() == Names{"sandbox-1", "sandbox-2", "sandbox-3"});
    }
    CHECK(Runner::run("down " + std::string(kGroupFile)).ok());
    CHECK(Runner::run("gc").ok());
    CHECK(vm_names().empty());
    CHECK(group_leftovers() == before);
  }
}

TEST_CASE("runner up: as a service, tells systemd when the VMs run") {
  const GroupHost machine;
  write_groups(group_text("sandbox", 1, kIsolatedGroup));
  const int listener = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = "/run/notify"};
  const timeval limit{.tv_sec = 20, .tv_usec = 0};
  REQUIRE(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
  REQUIRE(bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(setenv("NOTIFY_SOCKET", "/run/notify", 1) == 0);
  const Background service(Runner::argv("up " + std::string(kGroupFile)), "");
  REQUIRE(unsetenv("NOTIFY_SOCKET") == 0);
  std::array<char, 64> message{};
  CHECK(recv(listener, message.data(), message.size() - 1, 0) > 0);
  CHECK(std::string(message.data()) == "READY=1");
  CHECK(running_vms() == 1);
  (void)close(listener);
  REQUIRE(kill(service.pid(), SIGTERM) == 0);
  CHECK(eventually([&] { return !runs(service.pid()); }, 30s));
  CHECK(vm_names().empty());
}

}  // namespace slicer::test
