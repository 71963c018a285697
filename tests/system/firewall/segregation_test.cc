// A bridge whose VMs reach each other through the host: later ports, VLANs' gateways, proxy entries and their end.
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/system/firewall/policy_support.h"
#include "tests/system/fixture/snapshot.h"

using namespace slicer::test;
using namespace slicer::test::firewall;

namespace {

/// A container on a bridge, as upstream's plugin makes it: no neighbour or FDB entry of ours.
struct Container {
  explicit Container(const std::string& id, const std::string& bridge, const std::string& ip, const std::string& ip6)
      : box(id), how{.command = "ADD", .container_id = id, .netns = box.path(), .ifname = "eth0"} {
    const std::string port = "port-" + id;
    connect({.netns = box.path(), .link = "eth0", .address = ip + "/24"}, {.link = port});
    (void)must("ip link set " + port + " master " + bridge);
    result = {{"cniVersion", "1.0.0"},
              {"interfaces", {{{"name", bridge}}, {{"name", port}}, {{"name", "eth0"}, {"sandbox", box.path()}}}},
              {"ips", {{{"interface", 2}, {"address", ip + "/24"}, {"gateway", "192.0.2.1"}}}}};
    if (ip6.empty()) return;
    (void)must("ip addr add " + ip6 + "/64 dev eth0 nodad", box.path());
    result["ips"].push_back({{"interface", 2}, {"address", ip6 + "/64"}, {"gateway", "2001:db8:2::1"}});
  }
  [[nodiscard]] Answer firewall(Json conf, const std::string& command, bool previous = true) const {
    if (previous) conf["prevResult"] = result;
    Call call = how;
    call.command = command;
    return call_plugin("slicer-firewall", conf, call);
  }
  void must_add(const Json& conf) const {
    const Answer answer = firewall(conf, "ADD");
    INFO(answer.text());
    REQUIRE(answer.ok());
    const Answer checked = firewall(conf, "CHECK");
    INFO(checked.text());
    CHECK(checked.ok());
  }

  Netns box;
  Call how;
  Json result = {};
};

Json listed(const std::vector<std::string>& drop) {
  Json conf = Chain().firewall;
  conf["drop"] = list_of(drop);
  return conf;
}

void make_bridge() {
  (void)must("ip link add up0 type bridge forward_delay 0");
  (void)must("ip link set up0 up");
  (void)must("ip addr add 192.0.2.1/24 dev up0");
  (void)must("ip addr add 2001:db8:2::1/64 dev up0 nodad");
}

std::string proxies() { return must("ip -6 neigh show proxy"); }

bool is_isolated(const std::string& port) {
  return must("bridge -d link show dev " + port).find("isolated on") != std::string::npos;
}

}  // namespace

TEST_CASE("policy: proxy entries on a bridge of another plugin go with DEL without prevResult, and with GC") {
  const Host host;
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  make_bridge();
  const Json conf = listed({"192.0.2.0/24", "2001:db8:2::/64"});
  const Container first("one", "up0", "192.0.2.11", "2001:db8:2::11");
  const Container second("two", "up0", "192.0.2.12", "2001:db8:2::12");
  first.must_add(conf);
  const std::string before = snapshot();
  second.must_add(conf);
  REQUIRE(proxies().find("2001:db8:2::12") != std::string::npos);
  SUBCASE("DEL") {
    CHECK(second.firewall(conf, "DEL", false).ok());
    CHECK(second.firewall(conf, "DEL", false).ok());
  }
  SUBCASE("GC") {
    Json gc = conf;
    gc["cni.dev/valid-attachments"] = {{{"containerID", "one"}, {"ifname", "eth0"}}};
    const Answer answer = call_plugin("slicer-firewall", gc, {.command = "GC"});
    INFO(answer.text());
    CHECK(answer.ok());
  }
  CHECK(proxies().find("2001:db8:2::12") == std::string::npos);
  CHECK(proxies().find("2001:db8:2::11") != std::string::npos);
  CHECK(difference(before, snapshot()) == "");
}

TEST_CASE("policy: a container's proxy entry outlives the DEL of another one on the bridge") {
  const Host host;
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  Chain chain;
  chain.firewall["drop"] = {"2001:db8:2::/64"};
  chain.bridge["device"] = "veth";
  const Netns stays("stays");
  const Netns goes("goes");
  const Call first{.container_id = "one", .netns = stays.path(), .ifname = "eth0"};
  const Call second{.container_id = "two", .netns = goes.path(), .ifname = "eth0"};
  (void)add_chain(chain, first);
  const std::string before = proxies();
  REQUIRE(before.find("2001:db8:2::2") != std::string::npos);
  const Json result = add_chain(chain, second);
  CHECK(proxies() != before);
  del_chain(chain, result, second);
  CHECK(proxies() == before);
}

TEST_CASE("policy: a network without lists that comes later to a segregated bridge is no way round them") {
  const Host host;
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  Chain chain;
  chain.firewall["drop"] = {"192.0.2.0/24"};
  const Vm strict(chain, 1);
  Json plain = chain.bridge;
  plain["name"] = "plain";
  plain["ipam"]["ranges"][0][0]["rangeStart"] = "192.0.2.100";
  plain["ipam"]["ranges"][1][0]["rangeStart"] = "2001:db8:2::100";
  const Call how{.container_id = "vm-2", .netns = Host::netns(), .ifname = "vmtap2"};
  const Answer answer = call_plugin("slicer-bridge", plain, how);
  INFO(answer.text());
  REQUIRE(answer.ok());
  CHECK(is_isolated("vmtap2"));
  plain["prevResult"] = answer.json;
  Call check = how;
  check.command = "CHECK";
  CHECK(call_plugin("slicer-bridge", plain, check).ok());
  Host::sysctl("net/bridge/bridge-nf-call-iptables", "0");
  const Guest other(Guest::from_result(answer.json, how, "guest-2"));
  (void)must("ip neigh replace " + ip_of(answer.json, 4) + " lladdr " +
                 guest_entry(answer.json, "vm-2")["mac"].get<std::string>() + " dev eth0 nud permanent",
             strict.netns());
  CHECK_FALSE(pings(strict.netns(), ip_of(answer.json, 4), 1));
  CHECK(pings(Host::netns(), ip_of(answer.json, 4)));
  (void)must("bridge link set dev vmtap2 isolated off");
  CHECK(call_plugin("slicer-bridge", plain, check).code() == 105);
}

TEST_CASE("policy: lists on a VLAN of a bridge, whose gateway is a link of its own") {
  const Host host;
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Surroundings around;
  Host::sysctl("net/ipv4/ip_forward", "1");
  // As with VLAN filtering, which this needs not: the gateway is behind a port of the bridge.
  (void)must("ip link add up0 type bridge forward_delay 0");
  (void)must("ip link add gwport type veth peer name up0.10");
  (void)must("ip link set gwport master up0");
  for (const char* link : {"up0", "gwport", "up0.10"}) (void)must(std::string("ip link set ") + link + " up");
  (void)must("ip addr add 192.0.2.1/24 dev up0.10");
  Host::sysctl("net/ipv4/conf/up0/arp_ignore", "1");  // the bridge itself is not in the VLAN
  around.route_to_vms("192.0.2.0/24");
  (void)must("ip route add 192.0.2.0/24 via 198.51.100.2", around.router.path());
  const Container first("one", "up0", "192.0.2.11", "");
  const Container second("two", "up0", "192.0.2.12", "");
  for (const Container* each : {&first, &second}) (void)must("ip route add default via 192.0.2.1", each->box.path());
  const Json conf = listed({"198.51.100.3", "192.0.2.12"});
  first.must_add(conf);
  second.must_add(conf);
  CHECK(is_isolated("port-one"));
  CHECK_FALSE(is_isolated("gwport"));
  CHECK(standing_rules().find("up0.10") != std::string::npos);
  CHECK(pings(first.box.path(), Surroundings::kRouter));
  CHECK(pings(first.box.path(), "192.0.2.1"));
  CHECK_FALSE(pings(first.box.path(), Surroundings::kLanMachine, 1));
  CHECK_FALSE(pings(first.box.path(), "192.0.2.12", 1));
  CHECK(pings(second.box.path(), "192.0.2.11"));
  CHECK(second.firewall(conf, "DEL").ok());
}

TEST_CASE("policy: on a routed network without IPv6 the host's end has no link-local address to be reached at") {
  const Host host;
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Netns box("box");  // as upstream's ptp makes it
  connect({.netns = box.path(), .link = "eth0", .address = "192.0.2.2/24"},
          {.link = "port0", .address = "192.0.2.1/32"});
  (void)must("ip route add 192.0.2.2 dev port0");
  (void)must("ip addr add fe80::1/64 dev port0 nodad");
  REQUIRE(pings(box.path(), "fe80::1%eth0"));
  Json conf = listed({"198.51.100.0/24"});
  conf["prevResult"] = {{"cniVersion", "1.0.0"},
                        {"interfaces", {{{"name", "port0"}}, {{"name", "eth0"}, {"sandbox", box.path()}}}},
                        {"ips", {{{"interface", 1}, {"address", "192.0.2.2/24"}, {"gateway", "192.0.2.1"}}}}};
  Call how{.netns = box.path(), .ifname = "eth0"};
  const Answer answer = call_plugin("slicer-firewall", conf, how);
  INFO(answer.text());
  REQUIRE(answer.ok());
  CHECK_FALSE(pings(box.path(), "fe80::1%eth0", 1));
  CHECK(pings(box.path(), "192.0.2.1"));
  how.command = "CHECK";
  CHECK(call_plugin("slicer-firewall", conf, how).ok());
  Host::sysctl("net/ipv6/conf/port0/disable_ipv6", "0");
  CHECK(call_plugin("slicer-firewall", conf, how).code() == 105);
}
