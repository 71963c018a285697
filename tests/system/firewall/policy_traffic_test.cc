// Drop and allow lists on a bridge, by packets of a real TCP/IP stack behind the TAP.
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/system/firewall/policy_support.h"

using namespace slicer::test;
using namespace slicer::test::firewall;

namespace {

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
