// Host groups with the real plugins: up, down, and what happens in between.
#include <doctest/doctest.h>

#include <csignal>
#include <filesystem>
#include <set>

#include "tests/system/fixture/snapshot.h"
#include "tests/system/runner/group_support.h"

namespace slicer::test {
namespace {

using namespace std::chrono_literals;

constexpr const char* kFile = kGroupFile;

using Names = std::set<std::string>;

}  // namespace

TEST_CASE("runner up: boots isolated VMs side by side, down leaves nothing of them") {
  const GroupHost machine;
  write_text(kFile, groups_text(group_text("sandbox", 3, kIsolatedGroup)));
  const std::string before = group_leftovers();
  const Outcome up = Runner::run(std::string("up --detach ") + kFile);
  INFO(up.out << up.err);
  REQUIRE(up.ok());
  CHECK(up.out.find(" (1 of 3)\n") != std::string::npos);
  CHECK(up.out.find(" (3 of 3)\n") != std::string::npos);
  CHECK(vm_names() == Names{"sandbox-1", "sandbox-2", "sandbox-3"});
  std::set<std::string> addresses;
  for (const std::string& name : vm_names()) {
    CAPTURE(name);
    const Json vm = Runner::vm(name);
    CHECK(vm["network"] == "sandbox");
    CHECK(vm["netns"] == "/run/netns/slicer-" + name);
    CHECK(vm["tap"] == "tap0");
    addresses.insert(std::string(vm["addresses"][0]));
    CHECK(std::string(vm["addresses"][0]).starts_with("169.254.100."));
    CHECK(Runner::says(name, "TINY-READY"));
  }
  CHECK(addresses.size() == 3);

  SUBCASE("by the file") { CHECK(Runner::run(std::string("down ") + kFile).ok()); }
  SUBCASE("by the group") { CHECK(Runner::run("down sandbox").ok()); }
  SUBCASE("by the file, which was edited wrongly since") {
    write_text(kFile, "config: [");
    CHECK(Runner::run(std::string("down ") + kFile).ok());
  }
  CHECK(vm_names().empty());
  CHECK(group_leftovers() == before);
  CHECK(run(words("ip -o route show table all")).out.find("169.254.100.") == std::string::npos);
  // Once more: nothing to do for a file, and no such group.
  CHECK(Runner::run(std::string("down ") + kFile).ok());
  const Outcome again = Runner::run("down sandbox");
  CHECK(again.exit_code == 1);
  CHECK(again.err.starts_with("slicer-run: no VM of a host group 'sandbox' is up\n"));
}

TEST_CASE("runner up: a bridge group gets its bridge, and each VM its own of the addresses") {
  const GroupHost machine;
  write_text(kFile, groups_text(group_text(
                        "vm", 2, std::string(kBridgeGroup) + "        addresses: [192.0.2.30, 192.0.2.20]\n")));
  const Outcome up = Runner::run(std::string("up -d ") + kFile);
  INFO(up.out << up.err);
  REQUIRE(up.ok());
  CHECK(Runner::vm("vm-1")["addresses"] == Json::array({"192.0.2.30/24"}));
  CHECK(Runner::vm("vm-2")["addresses"] == Json::array({"192.0.2.20/24"}));
  CHECK(run(words("ip -o addr show dev brvm0")).out.find("192.0.2.1/24") != std::string::npos);
  CHECK(run(words("ip -o link show master brvm0")).out.find("vmtap1") != std::string::npos);
  CHECK(Runner::run("down vm").ok());
  CHECK(run(words("ip -o link show master brvm0")).out == "");
}

TEST_CASE("runner up: what new prints is what up takes") {
  const GroupHost machine;
  for (const std::string line : {"new sandbox --net=isolated --count=1", "new sandbox --count=1",
                                 "new sandbox --net=isolated --isolated-range 169.254.40.0/24 --count=1"}) {
    CAPTURE(line);
    const Outcome made = Runner::run(line);
    REQUIRE(made.ok());
    std::string yaml = made.out;
    yaml.insert(yaml.find("      network:"), "      ram_mb: 16\n      image: /run/image\n");
    const Outcome up = Runner::run("up --detach -", yaml);
    INFO(yaml << up.out << up.err);
    CHECK(up.ok());
    CHECK(vm_names() == Names{"sandbox-1"});
    CHECK(Runner::run("down sandbox").ok());
  }
}

TEST_CASE("runner new: an isolated group's YAML shows the host's own LAN") {
  const GroupHost machine;
  CHECK(Runner::run("new sandbox --net=isolated").out.find("# drop: [\"198.51.100.0/24\"]\n") != std::string::npos);
}

TEST_CASE("runner new: the subnet of a bridge group is one that the host has no route to") {
  const GroupHost machine;
  const std::string line = "gateway: 192.168.";
  const std::string first = Runner::run("new vm").out;
  const size_t at = first.find(line);
  REQUIRE(at != std::string::npos);
  const std::string address = first.substr(at + 9, first.find('/', at) - at - 9);
  (void)must("ip addr add " + address + "/28 dev lan0");
  const std::string second = Runner::run("new vm").out;
  CHECK(second.find(line) != std::string::npos);
  CHECK(second.find(address + "/24") == std::string::npos);
}

TEST_CASE("runner up: count 0 is said") {
  const GroupHost machine;
  write_text(kFile, groups_text(group_text("sandbox", 0, kIsolatedGroup)));
  const Outcome up = Runner::run(std::string("up -d ") + kFile);
  CHECK(up.ok());
  CHECK(up.out == "host group 'sandbox': count is 0, so no VM is booted; slicer-run vm new sandbox boots one\n");
  CHECK(Runner::run("down sandbox").ok());
}

TEST_CASE("runner up: in the foreground until a signal, then the VMs are shut down") {
  const GroupHost machine;
  write_text(kFile, groups_text(group_text("sandbox", 2, kIsolatedGroup)));
  for (const int number : {SIGINT, SIGTERM}) {
    CAPTURE(number);
    const Background up(Runner::argv(std::string("up ") + kFile), "");
    REQUIRE(eventually([] { return running_vms() == 2; }, 20s));
    REQUIRE(kill(up.pid(), number) == 0);
    CHECK(eventually([&] { return !runs(up.pid()); }, 30s));
    CHECK(vm_names().empty());
    CHECK_FALSE(exists("/run/slicer/.group-sandbox.lock"));
  }
}

TEST_CASE("runner up: a VM that ends is cleaned up after, with the last one up ends") {
  const GroupHost machine;
  write_text(kFile, groups_text(group_text("sandbox", 2, kIsolatedGroup)));
  const Background up(Runner::argv(std::string("up ") + kFile), "");
  REQUIRE(eventually([] { return running_vms() == 2; }, 20s));
  REQUIRE(kill(Runner::vm("sandbox-1")["hypervisorPid"], SIGKILL) == 0);
  CHECK(Runner::gone("sandbox-1"));
  CHECK(runs(up.pid()));
  // The supervisor killed: nobody but `up` is left to remove what the VM had.
  REQUIRE(kill(Runner::vm("sandbox-2")["supervisorPid"], SIGKILL) == 0);
  CHECK(Runner::gone("sandbox-2"));
  CHECK(eventually([] { return !exists("/run/netns/slicer-sandbox-2"); }));
  CHECK(eventually([&] { return !runs(up.pid()); }));
}

TEST_CASE("runner down: ends an up in the foreground with its VMs") {
  const GroupHost machine;
  write_text(kFile, groups_text(group_text("sandbox", 2, kIsolatedGroup)));
  const Background up(Runner::argv(std::string("up ") + kFile), "");
  REQUIRE(eventually([] { return running_vms() == 2; }, 20s));
  const Outcome down = Runner::run("down sandbox");
  INFO(down.err);
  CHECK(down.ok());
  CHECK_FALSE(runs(up.pid()));
  CHECK(vm_names().empty());
}

TEST_CASE("runner up: killed, its VMs run on, the next keeps them") {
  const GroupHost machine;
  write_text(kFile, groups_text(group_text("sandbox", 2, kIsolatedGroup)));
  {
    const Background up(Runner::argv(std::string("up ") + kFile), "");
    REQUIRE(eventually([] { return running_vms() == 2; }, 20s));
  }
  const Json before = lasting("sandbox-1");
  CHECK(running_vms() == 2);
  write_text(kFile, groups_text(group_text("sandbox", 3, kIsolatedGroup)));
  const Outcome up = Runner::run(std::string("up -d ") + kFile);
  INFO(up.err);
  CHECK(up.ok());
  CHECK(up.err.find("slicer-run: sandbox-1 runs already\n") != std::string::npos);
  CHECK(up.out.starts_with("sandbox-3 runs: "));
  CHECK(lasting("sandbox-1") == before);
  CHECK(Runner::run("down sandbox").ok());
  CHECK(vm_names().empty());
}

TEST_CASE("runner up: one VM that cannot be booted does not stop the others") {
  const GroupHost machine;
  write_text(kFile,
             groups_text(group_text("vm", 2, std::string(kBridgeGroup) + "        range: 192.0.2.9-192.0.2.9\n")));
  const Outcome up = Runner::run(std::string("up -d ") + kFile);
  INFO(up.out << up.err);
  CHECK(up.exit_code == 1);
  CHECK(vm_names().size() == 1);
  CHECK(up.err.find("no address is free") != std::string::npos);
  CHECK(Runner::run("down vm").ok());
}

TEST_CASE("runner up: what is in the way is told before anything is made") {
  const GroupHost machine;
  struct Case {
    std::string yaml;
    std::string message;
  };
  const std::string other = "/run/other.yaml";
  write_text(other, groups_text(group_text("taken", 1, kIsolatedGroup)));
  REQUIRE(Runner::run("up -d " + other).ok());
  REQUIRE(Runner::start("vm-2").ok());
  for (const auto& [yaml, message] :
       std::vector<Case>{{groups_text(group_text("taken", 1, kIsolatedGroup)),
                          "slicer-run: host group 'taken' is up from another file, '/run/other.yaml'\n"},
                         {groups_text(group_text("vm", 2, kBridgeGroup)),
                          "slicer-run: VM 'vm-2' exists and is not of host group 'vm'\n"},
                         {groups_text(group_text("host", 1, kBridgeGroup)),
                          "slicer-run: /run/groups.yaml: host group \"host\" has the name of the "
                          "network in '/etc/cni/net.d/host.conflist'\n"},
                         {groups_text(group_text("x", 1, "      network_name: none\n")),
                          "slicer-run: find network 'none' in '/etc/cni/net.d': no such network\n"},
                         {groups_text(group_text("x", 1, "      netwrok: {}\n")),
                          "slicer-run: /run/groups.yaml:7:7: config.host_groups[0].netwrok: unknown key\n"
                          "slicer-run: hint: did you mean \"network\"?\n"}}) {
    CAPTURE(yaml);
    write_text(kFile, yaml);
    const Outcome up = Runner::run(std::string("up -d ") + kFile);
    CHECK(up.exit_code == 1);
    CHECK(up.out == "");
    CHECK_MESSAGE(up.err.starts_with(message), up.err);
    CHECK(vm_names() == Names{"taken-1", "vm-2"});
  }
}

TEST_CASE("runner up: two files at once, each down by itself") {
  const GroupHost machine;
  write_text("/run/a.yaml", groups_text(group_text("a", 1, kIsolatedGroup)));
  write_text("/run/b.yaml",
             groups_text(group_text("b", 1, kIsolatedGroup)));  // the same range: blocks are never shared
  const Background a(Runner::argv("up /run/a.yaml"), "");
  const Background b(Runner::argv("up /run/b.yaml"), "");
  REQUIRE(eventually([] { return running_vms() == 2; }, 20s));
  CHECK(Runner::vm("a-1")["addresses"] != Runner::vm("b-1")["addresses"]);
  CHECK(Runner::run("down /run/a.yaml").ok());
  CHECK(vm_names() == Names{"b-1"});
  CHECK(runs(b.pid()));
  CHECK_FALSE(runs(a.pid()));
  CHECK(Runner::run("down b").ok());
}

TEST_CASE("runner vm new: lists that the network cannot take are refused, not dropped") {
  const GroupHost machine;
  const Outcome made = Runner::start("demo-1", "host", "--drop 192.0.2.0/24");
  CHECK(made.exit_code == 1);
  CHECK(made.err.starts_with(
      "slicer-run: network 'host' takes no \"policy\" of a VM: no plugin of it declares that capability\n"));
  CHECK(Runner::calls().empty());
  CHECK(Runner::start("demo-1", "host", "--drop 192.0.2.1/24").err.starts_with("slicer-run: --drop: "));
}

TEST_CASE("runner vm firewall: the lists in force, and network reload: edited ones for VMs that run") {
  const GroupHost machine;
  const auto with_drop = [](const std::string& lists) {
    return groups_text(group_text("vm", 2, kBridgeGroup + lists));
  };
  write_text(kFile, with_drop("        drop: [198.51.100.0/24, \"203.0.113.9:80\"]\n        allow: [198.51.100.3]\n"));
  const Outcome up = Runner::run(std::string("up -d ") + kFile);
  INFO(up.out << up.err);
  REQUIRE(up.ok());
  CHECK(Runner::run("vm firewall vm-1").out ==
        "VM vm-1 on network 'vm': the network's lists; the counters are of all its VMs\n"
        "passed 0 packets, dropped 0\n\n"
        "DESTINATION                  PORTS  VERDICT\n"
        "203.0.113.9                  80     drop\n"
        "198.51.100.0-198.51.100.2    any    drop\n"
        "198.51.100.4-198.51.100.255  any    drop\n"
        "everything else              any    allow\n");
  const Json shown = Json::parse(Runner::run("vm firewall vm-2 --json").out);
  CHECK(shown["shared"] == true);
  CHECK(shown["default"] == "allow");
  CHECK(shown["lists"].size() == 3);

  write_text(kFile, with_drop("        allow: [203.0.113.9]\n"));
  const Outcome reload = Runner::run("network reload vm");
  INFO(reload.out << reload.err);
  CHECK(reload.ok());
  CHECK(reload.out.starts_with("reloaded vm-1 (vmtap"));  // the numbers are given as they come
  CHECK(reload.out.find("\nreloaded vm-2 (vmtap") != std::string::npos);
  const Json edited = Json::parse(Runner::run("vm firewall vm-1 --json").out);
  INFO(edited.dump(2));
  CHECK(edited["default"] == "drop");
  CHECK(edited["lists"] == Json::array({{{"destination", "203.0.113.9"}, {"verdict", "allow"}}}));

  write_text(kFile, with_drop(""));
  CHECK(Runner::run("network reload vm").ok());
  CHECK(Runner::run("vm firewall vm-1").out == "VM vm-1 on network 'vm': no lists, everything is allowed\n");
  CHECK(Runner::run("down vm").ok());
  const Outcome gone = Runner::run("network reload vm");
  CHECK(gone.exit_code == 1);
  CHECK(gone.err.starts_with("slicer-run: find network 'vm' in '/etc/cni/net.d': no such network\n"));
}

TEST_CASE("runner vm new: lists of one VM are its own, and a reload of the network leaves them") {
  const GroupHost machine;
  const auto conflist = [](const Json& drop) {
    const Json ipam = {{"type", "slicer-ipam"}, {"subnet", "192.0.2.0/24"}, {"routes", {{{"dst", "0.0.0.0/0"}}}}};
    const Json bridge = {{"type", "slicer-bridge"}, {"bridge", "br0"}, {"isGateway", true}, {"ipam", ipam}};
    const Json firewall = {{"type", "slicer-firewall"}, {"drop", drop}, {"capabilities", {{"policy", true}}}};
    const Json list = {
        {"cniVersion", "1.0.0"}, {"name", "lan"}, {"netns", "host"}, {"plugins", Json::array({bridge, firewall})}};
    write_text("/etc/cni/net.d/10-lan.conflist", list.dump());
  };
  conflist(Json::array({"198.51.100.3"}));
  REQUIRE(Runner::start("demo-1", "lan").ok());
  REQUIRE(Runner::start("demo-2", "lan", "--drop 203.0.113.0/24,198.51.100.7:22 --default allow").ok());
  const auto lists = [](const std::string& name) {
    return Json::parse(Runner::run("vm firewall " + name + " --json").out);
  };
  CHECK(lists("demo-1")["lists"] == Json::array({{{"destination", "198.51.100.3"}, {"verdict", "drop"}}}));
  const Json own = Json::array({{{"destination", "198.51.100.7"}, {"ports", "22"}, {"verdict", "drop"}},
                                {{"destination", "203.0.113.0/24"}, {"verdict", "drop"}}});
  CHECK(lists("demo-2")["shared"] == false);
  CHECK(lists("demo-2")["lists"] == own);

  conflist(Json::array({"198.51.100.4"}));
  const Outcome reload = Runner::run("network reload lan");
  INFO(reload.out << reload.err);
  CHECK(reload.ok());
  CHECK(lists("demo-1")["lists"] == Json::array({{{"destination", "198.51.100.4"}, {"verdict", "drop"}}}));
  CHECK(lists("demo-2")["lists"] == own);
  CHECK(Runner::run("vm rm demo-2").ok());
  CHECK(lists("demo-1")["shared"] == true);
}

TEST_CASE("runner vm new GROUP --drop: the VM has lists of its own, the group's others keep theirs") {
  const GroupHost machine;
  write_text(kFile, groups_text(group_text("vm", 1, std::string(kBridgeGroup) + "        drop: [198.51.100.3]\n")));
  REQUIRE(Runner::run(std::string("up -d ") + kFile).ok());
  const Outcome made = Runner::run("vm new vm --drop 203.0.113.9:80,203.0.113.128/25");
  INFO(made.out << made.err);
  REQUIRE(made.ok());
  const auto lists = [](const std::string& name) {
    return Json::parse(Runner::run("vm firewall " + name + " --json").out);
  };
  const Json own = Json::array({{{"destination", "203.0.113.9"}, {"ports", "80"}, {"verdict", "drop"}},
                                {{"destination", "203.0.113.128/25"}, {"verdict", "drop"}}});
  const auto check_all = [&] {
    CHECK(lists("vm-1")["lists"] == Json::array({{{"destination", "198.51.100.3"}, {"verdict", "drop"}}}));
    CHECK(lists("vm-2")["lists"] == own);
    CHECK(lists("vm-2")["shared"] == false);
  };
  check_all();
  CHECK(Runner::run("network reload").ok());
  check_all();
  CHECK(Runner::run("vm new vm --drop 203.0.113.9/24").err.starts_with("slicer-run: --drop: "));
  CHECK(Runner::run("down vm").ok());
}

TEST_CASE("runner vm firewall: of an isolated VM, its own counters, network reload: each namespace's table") {
  const GroupHost machine;
  const auto with = [](const std::string& lists) {
    return groups_text(group_text("sandbox", 2, kIsolatedGroup + lists));
  };
  write_text(kFile, with("        drop: [203.0.113.128/25, \"203.0.113.9:80-81\"]\n        allow: [203.0.113.200]\n"));
  const Outcome up = Runner::run(std::string("up -d ") + kFile);
  INFO(up.out << up.err);
  REQUIRE(up.ok());
  const auto lists = [](const std::string& name) {
    return Json::parse(Runner::run("vm firewall " + name + " --json").out);
  };
  const auto has = [&](const std::string& name, const Json& entry) {
    const Json all = lists(name)["lists"];
    return std::find(all.begin(), all.end(), entry) != all.end();
  };
  INFO(lists("sandbox-1").dump(2));
  CHECK(lists("sandbox-1")["shared"] == false);
  CHECK(lists("sandbox-1")["default"] == "allow");
  CHECK(has("sandbox-1", {{"destination", "203.0.113.9"}, {"ports", "80-81"}, {"verdict", "drop"}}));
  CHECK(has("sandbox-1", {{"destination", "203.0.113.128-203.0.113.199"}, {"verdict", "drop"}}));
  CHECK(has("sandbox-1", {{"destination", "203.0.113.201-203.0.113.255"}, {"verdict", "drop"}}));
  CHECK(has("sandbox-1", {{"destination", "169.254.0.0/16"}, {"verdict", "drop"}}));
  CHECK(has("sandbox-1", {{"destination", Surroundings::kHost}, {"verdict", "drop"}}));

  write_text(kFile, with("        allow: [203.0.113.9]\n"));
  const Outcome reload = Runner::run("network reload sandbox");
  INFO(reload.out << reload.err);
  CHECK(reload.ok());
  CHECK(reload.out == "reloaded sandbox-1 (tap0)\nreloaded sandbox-2 (tap0)\n");
  for (const char* name : {"sandbox-1", "sandbox-2"}) {
    CHECK(lists(name)["default"] == "drop");
    CHECK(lists(name)["lists"] == Json::array({{{"destination", "203.0.113.9"}, {"verdict", "allow"}}}));
    CHECK(lists(name)["passed"] == 0);
    CHECK(lists(name)["dropped"] == 0);
  }

  write_text(kFile, with(""));  // the firewall is out of the chain: its lists go with it
  CHECK(Runner::run("network reload sandbox").ok());
  CHECK(lists("sandbox-2")["default"] == "allow");
  CHECK_FALSE(has("sandbox-2", {{"destination", "203.0.113.9"}, {"verdict", "allow"}}));
  CHECK(has("sandbox-2", {{"destination", "169.254.0.0/16"}, {"verdict", "drop"}}));
  CHECK(Runner::run("down sandbox").ok());
}

TEST_CASE("runner network rm: a host group's network, with the last isolated VM go the rules that all share") {
  const GroupHost machine;
  const auto ruleset = [] { return must("nft list ruleset"); };
  const std::string other = "      network:\n        mode: isolated\n        range: \"169.254.104.0/24\"\n";
  write_text(kFile, groups_text(group_text("sandbox", 1, kIsolatedGroup) + group_text("other", 1, other)));
  REQUIRE(Runner::run(std::string("up --detach ") + kFile).ok());
  const Outcome refused = Runner::run("network rm sandbox");
  CHECK(refused.exit_code == 1);
  CHECK(refused.err.find("remove network 'sandbox': still used by VM sandbox-1 (tap0)") != std::string::npos);
  REQUIRE(Runner::run("down sandbox").ok());
  const Outcome first = Runner::run("network rm sandbox");
  INFO(first.out << first.err);
  CHECK(first.out == "removed the rules of network 'sandbox'\n");
  CHECK(ruleset().find("chain isolation-forward") != std::string::npos);
  CHECK(ruleset().find("sandbox") == std::string::npos);
  CHECK(Runner::run("network rm sandbox").exit_code == 1);  // nothing of it is left
  REQUIRE(Runner::run("down other").ok());
  const Outcome last = Runner::run("network rm other");
  INFO(last.out << last.err);
  CHECK(last.out.starts_with("removed the rules of isolated networks: no VM is on one now\n"));
  CHECK(ruleset() == "");
  // And they come back.
  REQUIRE(Runner::run(std::string("up --detach ") + kFile).ok());
  CHECK(ruleset().find("chain isolation-forward") != std::string::npos);
}

TEST_CASE("runner up: says what of a running VM is not as the file says now, and what takes it over") {
  const GroupHost machine;
  write_text(kFile, groups_text(group_text("sandbox", 1, kIsolatedGroup)));
  REQUIRE(Runner::run(std::string("up --detach ") + kFile).ok());
  const auto again = [&](const std::string& text) {
    write_text(kFile, groups_text(text));
    const Outcome up = Runner::run(std::string("up --detach ") + kFile);
    CHECK(up.ok());
    return up.err;
  };
  CHECK(again(group_text("sandbox", 1, kIsolatedGroup)) == "slicer-run: sandbox-1 runs already\n");
  const std::string lists = std::string(kIsolatedGroup) + "        drop: [198.51.100.0/24]\n";
  CHECK(again(group_text("sandbox", 1, lists)) == "slicer-run: sandbox-1 runs already\n");  // taken over
  const std::string other =
      "      vcpu: 2\n      network:\n        mode: isolated\n        range: \"169.254.104.0/24\"\n";
  CHECK(
      again(group_text("sandbox", 1, other)) ==
      "slicer-run: sandbox-1 runs already, with another vcpu, network than the file says; to make it anew: slicer-run "
      "up --recreate\n");
}

}  // namespace slicer::test
