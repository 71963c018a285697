// What an isolated VM reaches, and what reaches it.
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/system/firewall/policy_support.h"
#include "tests/system/isolated/isolated_support.h"

using namespace slicer::test;
using namespace slicer::test::isolated;

namespace {

Json bridge_conf() {
  return {{"cniVersion", "1.1.0"},
          {"name", "demo"},
          {"type", "slicer-bridge"},
          {"bridge", "vms0"},
          {"isGateway", true},
          {"ipMasq", true},
          {"ipam", {{"type", "slicer-ipam"}, {"subnet", "192.0.2.0/24"}, {"routes", {{{"dst", "0.0.0.0/0"}}}}}}};
}

/// A VM on a bridge of the host.
struct BridgeVm {
  BridgeVm() : how{.netns = Host::netns(), .ifname = "vmtap0"} {
    Answer answer = call_plugin("slicer-bridge", bridge_conf(), how);
    if (!answer.ok()) give_up(answer.text());
    result = answer.json;
    guest = std::make_unique<Guest>(Guest::from_result(result, how, "bridge-vm"));
  }
  Call how;
  Json result;
  std::unique_ptr<Guest> guest;
};

}  // namespace

TEST_CASE("isolated reach: the internet, the LAN and the own gateway") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const Vm vm(sandbox_conf());
  CHECK(vm.pings(Surroundings::kInternet));
  CHECK(vm.pings(Surroundings::kLanMachine));
  CHECK(vm.pings(Surroundings::kRouter));
  CHECK(vm.pings(vm.gateway()));
  // Two links forward; nothing of the namespace was set by /proc/sys, which would make every later ADD slower.
  for (const std::string link : {"all", "default", "lo"})
    CHECK(must("sysctl -n net.ipv4.conf." + link + ".forwarding", vm.box.path()) == "0\n");
}

TEST_CASE("isolated reach: no address of the host, whichever of them") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const BridgeVm other;
  (void)must("ip link add extra0 type bridge");
  (void)must("ip link set extra0 up");
  const Vm vm(sandbox_conf());
  (void)must("ip addr add 203.0.113.77/32 dev extra0");  // after the ADD
  REQUIRE(vm.pings(Surroundings::kInternet));
  const std::string from = vm.guest.netns();
  CHECK(answered({{from, Surroundings::kHost}, {from, "192.0.2.1"}, {from, "203.0.113.77"}, {from, "169.254.1.1"}}) ==
        "");
}

TEST_CASE("isolated reach: no other VM, of the same network, of another, of a bridge, whichever came first") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const Vm before(sandbox_conf(), "vm-1");
  const BridgeVm bridged;
  const Vm same(sandbox_conf(), "vm-2");
  const Vm other(with(sandbox_conf("other"), "range", "10.77.0.0/24"), "vm-3");
  const std::string bridge_ip = ip_of(bridged.result, 4);
  REQUIRE(before.pings(Surroundings::kInternet));
  REQUIRE(other.pings(Surroundings::kInternet));
  REQUIRE(pings(Host::netns(), bridge_ip));
  std::vector<Way> ways;
  for (const Vm* vm : {&before, &same, &other}) {
    for (const Vm* target : {&before, &same, &other})
      if (vm != target) ways.push_back({vm->guest.netns(), target->ip()});
    ways.push_back({vm->guest.netns(), bridge_ip});
    ways.push_back({bridged.guest->netns(), vm->ip()});
    ways.push_back({Host::netns(), vm->ip()});
  }
  CHECK(answered(ways) == "");
}

TEST_CASE("isolated reach: the host's rules hold by themselves, whatever becomes of the namespace's table") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const BridgeVm bridged;
  const Vm vm(sandbox_conf());
  const Vm same(sandbox_conf(), "vm-2");
  const std::string bridge_ip = ip_of(bridged.result, 4);
  // A metadata service behind the host, and machines that know the way to the VMs.
  (void)must("ip addr add 169.254.169.254/32 dev lan0", around.machine.path());
  (void)must("ip route add 169.254.169.254 via 198.51.100.3");
  (void)must("ip route add 169.254.100.0/22 via 198.51.100.2", around.machine.path());
  for (const Vm* each : {&vm, &same}) drop_rules(each->box.path());
  REQUIRE(pings(Host::netns(), "169.254.169.254"));
  REQUIRE(vm.pings(Surroundings::kInternet));
  REQUIRE(vm.pings(Surroundings::kLanMachine));
  const std::string from = vm.guest.netns();
  CHECK(answered({{from, Surroundings::kHost},
                  {from, "192.0.2.1"},
                  {from, bridge_ip},
                  {from, same.ip()},
                  {from, "169.254.169.254"},
                  {around.machine.path(), vm.ip()},
                  {bridged.guest->netns(), vm.ip()},
                  {Host::netns(), vm.ip()}}) == "");
}

TEST_CASE("isolated reach: a bridge that was there before the set of bridges is in it") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const BridgeVm bridged;
  (void)must("nft delete table inet slicer");
  const Vm vm(sandbox_conf());
  if (is_legacy())
    CHECK(must("iptables-legacy -t mangle -S slicer-iso-bridges").find("-o vms0") != std::string::npos);
  else
    CHECK(must("nft list set inet slicer bridges").find("\"vms0\"") != std::string::npos);
  drop_rules(vm.box.path());
  REQUIRE(vm.pings(Surroundings::kLanMachine));
  CHECK_FALSE(vm.pings(ip_of(bridged.result, 4), 1));
}

TEST_CASE("isolated reach: after a flush the next ADD closes bridges that slicer-bridge only uses") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  (void)must("ip link add vms0 type bridge");  // not slicer-bridge's: no alias
  (void)must("ip link set vms0 up");
  const BridgeVm bridged;
  const Vm before(sandbox_conf(), "vm-1");
  Call check = before.how;
  check.command = "CHECK";
  const Json with_result = with(sandbox_conf(), "prevResult", before.result);
  REQUIRE(call(with_result, check).ok());
  if (is_legacy()) {
    (void)must("iptables-legacy -t mangle -F");
    (void)must("nft flush ruleset");
  } else {
    (void)must("nft flush ruleset");
  }
  CHECK_FALSE(call(with_result, check).ok());
  const Vm vm(sandbox_conf(), "vm-2");
  for (const Vm* each : {&before, &vm}) {
    drop_rules(each->box.path());
    REQUIRE(each->pings(Surroundings::kLanMachine));
    CHECK_FALSE(each->pings(ip_of(bridged.result, 4), 1));
  }
  // Somebody takes the bridge alone.
  if (is_legacy())
    (void)must("iptables-legacy -t mangle -F slicer-iso-bridges");
  else
    (void)must("nft flush set inet slicer bridges");
  const Netns box("vm-3-box");
  check = call_in("ADD", box, "vm-3");
  const Json third = add(sandbox_conf(), check);
  check.command = "CHECK";
  const Answer answer = call(with(sandbox_conf(), "prevResult", third), check);
  CHECK(answer.code() == 105);
  CHECK(answer.msg().find("'vms0'") != std::string::npos);
}

TEST_CASE("isolated reach: no container of a routed network with slicer-firewall, whichever came first") {
  if (const std::string missing = firewall::missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const Vm before(sandbox_conf(), "vm-1");
  const Netns container("container");  // as upstream's ptp makes it
  connect({.netns = container.path(), .link = "eth0", .address = "192.0.2.2/24"},
          {.link = "port0", .address = "192.0.2.1/32"});
  (void)must("ip route add 192.0.2.2 dev port0");
  (void)must("ip route add default via 192.0.2.1", container.path());
  REQUIRE(before.pings("192.0.2.2"));
  Json conf = Json::parse(R"({"cniVersion": "1.0.0", "name": "routed", "type": "slicer-firewall", "prevResult": {
    "cniVersion": "1.0.0", "interfaces": [{"name": "port0"}, {"name": "eth0", "sandbox": "/run/netns/container"}],
    "ips": [{"interface": 1, "address": "192.0.2.2/24", "gateway": "192.0.2.1"}]}})");
  if (firewall::is_legacy()) conf["backend"] = "iptables";
  const Call how{.netns = container.path(), .ifname = "eth0"};
  const Answer answer = call_plugin("slicer-firewall", conf, how);
  INFO(answer.text());
  REQUIRE(answer.ok());
  const Vm after(sandbox_conf(), "vm-2");
  for (const Vm* vm : {&before, &after}) {
    CHECK_FALSE(pings(vm->guest.netns(), "192.0.2.2", 1));
    CHECK(vm->pings(Surroundings::kInternet));
  }
  CHECK(pings(container.path(), Surroundings::kHost));
  Call check = how;
  check.command = "CHECK";
  CHECK(call_plugin("slicer-firewall", conf, check).ok());
}
