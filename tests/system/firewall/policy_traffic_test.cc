// Drop and allow lists on a bridge, by packets of a real TCP/IP stack behind the TAP.
#include <doctest/doctest.h>

#include <cstdio>

#include "lib/base/whole_file.h"
#include "tests/system/firewall/policy_support.h"

using namespace slicer::test;
using namespace slicer::test::firewall;

namespace {

/// udp_frame() sends from it.
constexpr uint16_t kBothPorts = 40000;

/// A network, two VMs on it, and servers everywhere.
class World {
 public:
  explicit World(Json lists = Json::object()) {
    chain.firewall.update(lists);
    one = std::make_unique<Vm>(chain, 1);
    two = std::make_unique<Vm>(chain, 2);
    for (const std::string& netns :
         {std::string(Host::netns()), around.machine.path(), around.internet.path(), one->netns(), two->netns()})
      servers.push_back(std::make_unique<EchoServer>(netns, std::vector<uint16_t>{kPort, kOtherPort}));
    around.route_to_vms("192.0.2.0/24");
    around.route_to_vms("2001:db8:2::/64");
  }

  void set_lists(const Json& lists) {
    for (const char* key : {"drop", "allow", "default"}) chain.firewall.erase(key);
    chain.firewall.update(lists);
    reload(chain, *one);
  }

  Surroundings around = {};
  Chain chain = {};
  std::unique_ptr<Vm> one;
  std::unique_ptr<Vm> two;
  std::vector<std::unique_ptr<EchoServer>> servers = {};
};

struct Expected {
  Target target;
  bool open;
};

void check_all(const std::string& netns, const std::vector<Expected>& expected) {
  std::vector<Target> open;
  std::vector<Target> closed;
  for (const Expected& one : expected) (one.open ? open : closed).push_back(one.target);
  const std::vector<bool> opened = reach(netns, open, std::chrono::seconds(5));
  for (size_t i = 0; i < open.size(); ++i) {
    INFO("must be open: ", target_text(open[i]), opened[i] ? "" : "; " + must("ip neigh", netns));
    CHECK(opened[i]);
  }
  const std::vector<bool> shut = reach(netns, closed);
  for (size_t i = 0; i < closed.size(); ++i) {
    INFO("must be closed: ", target_text(closed[i]));
    CHECK_FALSE(shut[i]);
  }
}

std::vector<Expected> all_of(const std::string& ip, bool open) {
  return {{{Protocol::kTcp, ip, kPort}, open}, {{Protocol::kUdp, ip, kPort}, open}, {{Protocol::kIcmp, ip, 0}, open}};
}

std::vector<Expected> join(const std::vector<std::vector<Expected>>& parts) {
  std::vector<Expected> all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace

TEST_CASE("policy: without lists everything is open") {
  const Host host;
  const World world;
  check_all(world.one->netns(), join({all_of(Surroundings::kInternet, true), all_of(Surroundings::kLanMachine6, true),
                                      all_of(world.two->ip(), true), all_of("192.0.2.1", true)}));
}

TEST_CASE("policy: the shipped filtered network reaches the internet and its gateway, nothing private") {
  const Host host;
  Surroundings around;
  Chain chain;
  const Json shipped = Json::parse(slicer::read_file(SLICER_CONFLISTS "/54-slicer-filtered.conflist").value());
  chain.bridge.update(shipped["plugins"][0]);
  chain.firewall.update(shipped["plugins"][1]);
  const Vm one(chain, 1);
  const Vm two(chain, 2);
  around.route_to_vms("10.73.12.0/22");
  // The host has the private addresses itself: without lists a VM reaches each.
  const std::vector<std::string> closed = {"10.9.9.9",        "172.16.9.9", "172.31.9.9",     "192.168.9.9",
                                           "169.254.169.254", "100.64.9.9", "100.100.100.200"};
  for (const std::string& ip : closed) (void)must("ip addr add " + ip + "/32 dev lo");
  std::vector<std::unique_ptr<EchoServer>> servers;
  for (const std::string& netns : {std::string(Host::netns()), around.internet.path(), two.netns()})
    servers.push_back(std::make_unique<EchoServer>(netns, std::vector<uint16_t>{kPort}));
  std::vector<Expected> expected = join({all_of(Surroundings::kInternet, true), all_of("10.73.12.1", true)});
  for (const std::string& ip : closed) expected = join({expected, all_of(ip, false)});
  check_all(one.netns(), join({expected, all_of(two.ip(), false)}));
}

TEST_CASE("policy: the shipped filtered network's lists on a network with IPv6 leave the internet, nothing private") {
  const Host host;
  const Surroundings around;
  Chain chain;
  const Json shipped = Json::parse(slicer::read_file(SLICER_CONFLISTS "/54-slicer-filtered.conflist").value());
  chain.firewall.update(shipped["plugins"][1]);
  const Vm one(chain, 1);
  const std::vector<std::string> closed = {"fc00::9", "fd12:3456::9"};
  for (const std::string& ip : closed) (void)must("ip addr add " + ip + "/128 dev lo nodad");
  std::vector<std::unique_ptr<EchoServer>> servers;
  for (const std::string& netns : {std::string(Host::netns()), around.internet.path()})
    servers.push_back(std::make_unique<EchoServer>(netns, std::vector<uint16_t>{kPort}));
  // The gateway of a network with addresses that are not private is none of the lists' business.
  std::vector<Expected> expected = join({all_of(Surroundings::kInternet6, true), all_of("2001:db8:2::1", true)});
  for (const std::string& ip : closed) expected = join({expected, all_of(ip, false)});
  check_all(one.netns(), expected);
}

TEST_CASE("policy: drop 0.0.0.0/0 and allow one proxy leaves one proxy") {
  const Host host;
  const World world({{"drop", {"0.0.0.0/0"}}, {"allow", {std::string(Surroundings::kLanMachine) + ":7777"}}});
  const std::string proxy = Surroundings::kLanMachine;
  check_all(world.one->netns(), join({{{{Protocol::kTcp, proxy, kPort}, true},
                                       {{Protocol::kUdp, proxy, kPort}, true},
                                       {{Protocol::kTcp, proxy, kOtherPort}, false},
                                       {{Protocol::kIcmp, proxy, 0}, false}},
                                      all_of(Surroundings::kInternet, false),
                                      all_of(Surroundings::kLanMachine6, false),
                                      all_of(Surroundings::kHost, false),
                                      all_of("192.0.2.1", false),
                                      all_of("2001:db8:2::1", false),
                                      all_of(world.two->ip(), false),
                                      all_of(world.two->ip6(), false)}));
}

TEST_CASE("policy: drop the LAN and allow the rest leaves the internet") {
  for (const char* bridged : {"0", "1"}) {
    const Host host;
    const World world({{"drop", {"198.51.100.0/24", "2001:db8:100::/64"}}, {"allow", {"0.0.0.0/0", "::/0"}}});
    Host::sysctl("net/bridge/bridge-nf-call-iptables", bridged);
    Host::sysctl("net/bridge/bridge-nf-call-ip6tables", bridged);
    INFO("bridge-nf-call ", std::string(bridged));
    check_all(world.one->netns(),
              join({all_of(Surroundings::kInternet, true), all_of(Surroundings::kInternet6, true),
                    all_of("192.0.2.1", true), all_of(world.two->ip(), true), all_of(world.two->ip6(), true),
                    all_of(Surroundings::kLanMachine, false), all_of(Surroundings::kLanMachine6, false),
                    all_of(Surroundings::kHost, false), all_of(Surroundings::kHost6, false)}));
  }
}

TEST_CASE("policy: VM to VM is judged by the first VM's lists, whatever bridge-nf-call says") {
  const Host host;
  World world;
  const std::string two = world.two->ip();
  const std::string two6 = world.two->ip6();
  world.set_lists({{"drop", {two, "[" + two6 + "]:7777"}}});
  for (const char* bridged : {"0", "1"}) {
    Host::sysctl("net/bridge/bridge-nf-call-iptables", bridged);
    Host::sysctl("net/bridge/bridge-nf-call-ip6tables", bridged);
    INFO("bridge-nf-call ", std::string(bridged));
    check_all(world.one->netns(), join({all_of(two, false),
                                        {{{Protocol::kTcp, two6, kPort}, false},
                                         {{Protocol::kTcp, two6, kOtherPort}, true},
                                         {{Protocol::kIcmp, two6, 0}, true}}}));
    check_all(world.two->netns(), join({all_of(world.one->ip(), true), all_of(world.one->ip6(), true)}));
    // The connection that the other one has opened opens nothing for this one.
    const TcpConnection reverse(world.two->netns(), {Protocol::kTcp, world.one->ip(), kPort});
    CHECK(reverse.answers());
    check_all(world.one->netns(), all_of(two, false));
    CHECK(reverse.answers());
  }
}

TEST_CASE("policy: every form of entry, IPv4 and IPv6") {
  const Host host;
  World world;
  const std::string netns = world.around.machine.path();
  for (const char* ip : {"198.51.100.32", "198.51.100.33", "198.51.100.34", "198.51.100.35", "198.51.100.36"})
    (void)must(std::string("ip addr add ") + ip + "/24 dev lan0", netns);
  for (const char* ip : {"2001:db8:100::32", "2001:db8:100::33", "2001:db8:100::34", "2001:db8:100::36"})
    (void)must(std::string("ip addr add ") + ip + "/64 dev lan0 nodad", netns);
  world.set_lists({{"drop",
                    {"198.51.100.32", "198.51.100.33-198.51.100.34", "198.51.100.35:7777", "198.51.100.36:7000-8000",
                     "203.0.113.0/24:8888", "2001:db8:100::32", "2001:db8:100::33-2001:db8:100::34",
                     "[2001:db8:100::36]:7777-7778", "[2001:db8:113::/64]:8888"}}});
  const auto port_only = [](const std::string& ip, uint16_t shut, uint16_t open) -> std::vector<Expected> {
    return {{{Protocol::kTcp, ip, shut}, false},
            {{Protocol::kUdp, ip, shut}, false},
            {{Protocol::kTcp, ip, open}, true},
            {{Protocol::kUdp, ip, open}, true},
            {{Protocol::kIcmp, ip, 0}, true}};
  };
  check_all(
      world.one->netns(),
      join({all_of("198.51.100.32", false), all_of("198.51.100.33", false), all_of("198.51.100.34", false),
            all_of(Surroundings::kLanMachine, true), port_only("198.51.100.35", kPort, kOtherPort),
            port_only("198.51.100.36", kPort, kOtherPort), port_only(Surroundings::kInternet, kOtherPort, kPort),
            all_of("2001:db8:100::32", false), all_of("2001:db8:100::33", false), all_of("2001:db8:100::34", false),
            all_of(Surroundings::kLanMachine6, true), port_only("2001:db8:100::36", kPort, kOtherPort),
            port_only(Surroundings::kInternet6, kOtherPort, kPort)}));
}

TEST_CASE("policy: default has the last word") {
  const Host host;
  World world;
  world.set_lists({{"default", "drop"}});
  check_all(world.one->netns(),
            join({all_of(Surroundings::kInternet, false), all_of(Surroundings::kLanMachine6, false)}));
  world.set_lists({{"allow", {"203.0.113.9"}}, {"default", "allow"}});
  check_all(world.one->netns(),
            join({all_of(Surroundings::kInternet, true), all_of(Surroundings::kLanMachine6, true)}));
  world.set_lists({{"drop", {"203.0.113.9"}}, {"default", "drop"}, {"allow", {"198.51.100.3"}}});
  check_all(world.one->netns(), join({all_of(Surroundings::kInternet, false), all_of(Surroundings::kLanMachine6, false),
                                      all_of(Surroundings::kLanMachine, true), all_of(Surroundings::kHost, false)}));
}

TEST_CASE("policy: a reload closes what is open, and only in the direction that it closes") {
  const Host host;
  World world;
  const std::string machine = Surroundings::kLanMachine;
  const TcpConnection forward(world.one->netns(), {Protocol::kTcp, machine, kPort});
  const TcpConnection kept(world.one->netns(), {Protocol::kTcp, Surroundings::kInternet, kPort});
  const TcpConnection reverse(world.around.machine.path(), {Protocol::kTcp, world.one->ip(), kPort});
  CHECK(forward.answers());
  world.set_lists({{"drop", {"198.51.100.0/24"}}});
  CHECK_FALSE(forward.answers());
  CHECK(kept.answers());
  CHECK(reverse.answers());
  world.set_lists(Json::object());
  CHECK(forward.answers(std::chrono::seconds(5)));  // TCP sends again
}

TEST_CASE("policy: a published port of the host is judged as the VM sees it") {
  const Host host;
  World world;
  (void)must("nft add table inet forwarded");
  (void)must("nft add chain inet forwarded in { type nat hook prerouting priority dstnat ; }");
  (void)must(std::string("nft add rule inet forwarded in ip daddr ") + Surroundings::kHost +
             " tcp dport 9999 dnat ip to " + Surroundings::kLanMachine + ":7777");
  const Target published{Protocol::kTcp, Surroundings::kHost, 9999};
  const Target behind{Protocol::kTcp, Surroundings::kLanMachine, kPort};
  check_all(world.one->netns(), {{published, true}, {behind, true}});
  world.set_lists({{"allow", {std::string(Surroundings::kHost) + ":9999"}}});
  check_all(world.one->netns(), {{published, true}, {behind, false}});
  world.set_lists({{"drop", {Surroundings::kHost}}});
  check_all(world.one->netns(), {{published, false}, {behind, true}});
}

TEST_CASE("policy: a VM's own lists are its alone") {
  const Host host;
  World world(Json{{"drop", {"198.51.100.0/24"}}});
  Chain own = world.chain;
  own.firewall["runtimeConfig"]["policy"] = {{"drop", Json::array()}, {"allow", {"198.51.100.3:7777"}}};
  reload(own, *world.one);
  check_all(world.one->netns(), join({{{{Protocol::kTcp, Surroundings::kLanMachine, kPort}, true},
                                       {{Protocol::kTcp, Surroundings::kLanMachine, kOtherPort}, false}},
                                      all_of(Surroundings::kInternet, false),
                                      all_of(world.two->ip(), false)}));
  check_all(world.two->netns(), join({all_of(Surroundings::kLanMachine, false), all_of(Surroundings::kInternet, true),
                                      all_of(world.one->ip(), true)}));
  const Outcome listed = drive("list demo");
  INFO(listed.out);
  CHECK(listed.out.find("vm slicer:demo/vm-1/vmtap1 " + world.one->ip()) != std::string::npos);
  CHECK(listed.out.find("allow 198.51.100.3:7777") != std::string::npos);
  CHECK(listed.out.find("dropped=0") == std::string::npos);
}

TEST_CASE("policy: a VM's own lists hold for what it sends from its link-local address") {
  const Host host;
  World world;
  const std::string listed = must("ip -6 -o addr show dev slicer0 scope link");
  const size_t start = listed.find("fe80:");
  REQUIRE(start != std::string::npos);
  const int eth0 = std::stoi(must("ip -o link show dev eth0", world.one->netns()));
  const std::string gateway = listed.substr(start, listed.find('/') - start) + "%" + std::to_string(eth0);
  check_all(world.one->netns(), all_of(gateway, true));
  Chain own = world.chain;
  own.firewall["runtimeConfig"]["policy"] = {{"drop", {"0.0.0.0/0"}}};
  reload(own, *world.one);
  check_all(world.one->netns(), all_of(gateway, false));
  check_all(world.two->netns(), all_of(gateway, true));
  Call del = world.one->call;
  del.command = "DEL";
  CHECK(call_firewall(own, nullptr, del).ok());
  CHECK(standing_rules().find("/vmtap1") == std::string::npos);
}

TEST_CASE("policy: a connection that a VM opens to itself in another's name is no way round the lists") {
  const Host host;
  const Surroundings around;
  around.route_to_vms("192.0.2.0/24");
  around.route_to_vms("2001:db8:2::/64");
  Chain chain;
  chain.bridge["macspoofchk"] = false;
  const Call how{.netns = Host::netns()};
  const Json result = add_chain(chain, how);
  for (const char* link : {"all", "slicer0", "lan0"})
    Host::sysctl(std::string("net/ipv4/conf/") + link + "/rp_filter", "0");
  const EchoServer machine(around.machine.path(), {kBothPorts, kPort});
  const RawGuest guest({});
  const auto ends = [&](const std::string& from, const std::string& to) {
    return Ends{.source_mac = guest_entry(result, how.container_id)["mac"],
                .target_mac = result["interfaces"][0]["mac"],
                .source_ip = from,
                .target_ip = to};
  };
  const auto echoes = [&](const Ends& to, const std::string& text, uint16_t port = kBothPorts) {
    guest.send(udp_frame(to, port, text));
    return guest.receive([&](const Bytes& frame) { return std::string(frame.begin(), frame.end()).contains(text); })
        .has_value();
  };
  const Ends to_lan = ends(ip_of(result, 4), Surroundings::kLanMachine);
  const Ends to_lan6 = ends(ip_of(result, 6), Surroundings::kLanMachine6);
  REQUIRE(eventually([&] { return echoes(to_lan, "open", kPort); }));
  REQUIRE(eventually([&] { return echoes(to_lan6, "open6", kPort); }));
  chain.firewall["drop"] = {"198.51.100.0/24", "2001:db8:100::/64"};
  REQUIRE(call_firewall(chain, result, how).ok());
  CHECK_FALSE(echoes(to_lan, "closed"));
  guest.send(udp_frame(ends(Surroundings::kLanMachine, ip_of(result, 4)), kBothPorts, "in its name"));
  CHECK_FALSE(echoes(to_lan, "round"));
  guest.send(udp_frame(ends(Surroundings::kLanMachine6, ip_of(result, 6)), kBothPorts, "in its name"));
  CHECK_FALSE(echoes(to_lan6, "round6"));
}

TEST_CASE("policy: a TAP in a private namespace is judged on the host") {
  const Host host;
  const Surroundings around;
  Chain chain;
  chain.firewall["drop"] = {"198.51.100.0/24", "192.0.2.0/24"};
  const Netns box("box");
  const Call how{.netns = box.path(), .ifname = "tap0"};
  const Json result = add_chain(chain, how);
  const Guest guest(Guest::from_result(result, how, "guest-1"));
  const Vm two(chain, 2);
  const EchoServer machine(around.machine.path(), {kPort});
  const EchoServer internet(around.internet.path(), {kPort});
  const EchoServer other(two.netns(), {kPort});
  check_all(guest.netns(), join({all_of(Surroundings::kInternet, true), all_of(Surroundings::kLanMachine, false),
                                 all_of(two.ip(), false), all_of(two.ip6(), true)}));
}

TEST_CASE("policy: a routed network (ptp) is judged by its subnet") {
  const Host host;
  const Surroundings around;
  const Netns vm("vm");
  connect({.netns = vm.path(), .link = "eth0", .address = "192.0.2.2/24"},
          {.link = "port0", .address = "192.0.2.1/32"});
  (void)must("ip route add 192.0.2.2 dev port0");
  (void)must("ip route add default via 192.0.2.1", vm.path());
  Host::sysctl("net/ipv4/ip_forward", "1");
  around.route_to_vms("192.0.2.0/24");
  const EchoServer machine(around.machine.path(), {kPort, kOtherPort});
  const EchoServer on_host(Host::netns(), {kPort, kOtherPort});
  Json conf = Json::parse(R"({"cniVersion": "1.0.0", "name": "net1", "type": "slicer-firewall",
    "drop": ["0.0.0.0/0"], "allow": ["198.51.100.3:7777"], "prevResult": {"cniVersion": "1.0.0",
    "interfaces": [{"name": "port0"}, {"name": "eth0", "sandbox": "/run/netns/vm"}],
    "ips": [{"interface": 1, "address": "192.0.2.2/24", "gateway": "192.0.2.1"}]}})");
  if (is_legacy()) conf["backend"] = "iptables";
  const Call how{.netns = vm.path(), .ifname = "eth0"};
  Answer answer = call_plugin("slicer-firewall", conf, how);
  INFO(answer.text());
  REQUIRE(answer.ok());
  check_all(vm.path(), join({{{{Protocol::kTcp, Surroundings::kLanMachine, kPort}, true},
                              {{Protocol::kTcp, Surroundings::kLanMachine, kOtherPort}, false}},
                             all_of(Surroundings::kHost, false),
                             all_of("192.0.2.1", false)}));
}

TEST_CASE("policy: on a segregated bridge duplicate address detection finds no duplicate, and ND works") {
  const Host host;
  const World world(Json{{"drop", {"192.0.2.0/24"}}});
  const std::string netns = world.two->netns();
  const std::string ip6 = world.two->ip6();
  in_netns(netns, [] { Host::sysctl("net/ipv6/conf/eth0/accept_dad", "1"); });
  (void)must("ip addr del " + ip6 + "/64 dev eth0", netns);
  (void)must("ip addr add " + ip6 + "/64 dev eth0", netns);
  CHECK(eventually([&] { return must("ip addr show dev eth0 tentative", netns).find(ip6) == std::string::npos; }));
  CHECK(must("ip addr show dev eth0", netns).find("dadfailed") == std::string::npos);
  check_all(world.one->netns(), all_of(ip6, true));
}

TEST_CASE("ingressPolicy: same-bridge closes other networks out, isolated the same bridge too, and the LAN stays") {
  for (const char* bridged : {"0", "1"}) {
    const Host host;
    World world;
    Chain neighbours;
    neighbours.bridge["name"] = neighbours.firewall["name"] = "neighbours";
    neighbours.bridge["bridge"] = "slicer9";
    neighbours.bridge["ipam"]["ranges"] = {{{{"subnet", "203.0.113.128/25"}}}, {{{"subnet", "2001:db8:9::/64"}}}};
    const Vm neighbour(neighbours, 9);
    Host::sysctl("net/bridge/bridge-nf-call-iptables", bridged);
    Host::sysctl("net/bridge/bridge-nf-call-ip6tables", bridged);
    const std::string ip = world.one->ip();
    const std::string ip6 = world.one->ip6();
    check_all(neighbour.netns(), all_of(ip, true));
    world.chain.firewall["ingressPolicy"] = "same-bridge";
    reload(world.chain, *world.one);
    check_all(neighbour.netns(), join({all_of(ip, false), all_of(ip6, false)}));
    check_all(world.two->netns(), join({all_of(ip, true), all_of(ip6, true)}));
    check_all(world.around.machine.path(), join({all_of(ip, true), all_of(ip6, true)}));
    world.chain.firewall["ingressPolicy"] = "isolated";
    reload(world.chain, *world.one);
    check_all(neighbour.netns(), all_of(ip, false));
    check_all(world.two->netns(), join({all_of(ip, false), all_of(ip6, false)}));
    check_all(world.around.machine.path(), join({all_of(ip, true), all_of(ip6, true)}));
    check_all(world.one->netns(), all_of(Surroundings::kInternet, true));
  }
}

TEST_CASE("portIsolation: the gateway is no way from VM to VM") {
  for (const char* bridged : {"0", "1"}) {
    const Host host;
    const Surroundings around;
    Chain chain;
    chain.bridge["portIsolation"] = true;
    const Vm one(chain, 1);
    const Vm two(chain, 2);
    const EchoServer server(two.netns(), {kPort});
    const EchoServer internet(around.internet.path(), {kPort});
    Host::sysctl("net/bridge/bridge-nf-call-iptables", bridged);
    Host::sysctl("net/bridge/bridge-nf-call-ip6tables", bridged);
    // Sent to the gateway instead of the neighbour: what a guest that knows its way around does.
    for (const Vm* from : {&one, &two}) {
      const std::string& to = from == &one ? two.ip() : one.ip();
      const std::string& to6 = from == &one ? two.ip6() : one.ip6();
      (void)must("ip route add " + to + " via 192.0.2.1", from->netns());
      (void)must("ip route add " + to6 + " via 2001:db8:2::1", from->netns());
    }
    check_all(
        one.netns(),
        join({all_of(two.ip(), false),
              all_of(two.ip6(), false),
              {{{Protocol::kTcp, Surroundings::kInternet, kPort}, true}, {{Protocol::kIcmp, "192.0.2.1", 0}, true}}}));
    Call check = one.call;
    check.command = "CHECK";
    const Answer checked = call_plugin("slicer-bridge", with(chain.bridge, "prevResult", one.result), check);
    INFO(checked.text());
    CHECK(checked.ok());
  }
}
