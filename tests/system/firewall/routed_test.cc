// A routed network (an upstream ptp): a link of the host's for each VM, which lists know by its group.
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/system/firewall/policy_support.h"

using namespace slicer::test;
using namespace slicer::test::firewall;

namespace {

/// A container as upstream's ptp makes it, dual-stack.
class Routed {
 public:
  explicit Routed(int number) : end_("port" + std::to_string(number)), box_("box" + std::to_string(number)) {
    const std::string last = std::to_string(number + 1);
    connect({.netns = box_.path(), .link = "eth0", .address = "192.0.2." + last + "/24"},
            {.link = end_, .address = "192.0.2.1/32"});
    (void)must("ip addr add 2001:db8:2::1/128 dev " + end_ + " nodad");
    (void)must("ip addr add fe80::1/64 dev " + end_ + " nodad");
    (void)must("ip route add 192.0.2." + last + " dev " + end_);
    (void)must("ip route add 2001:db8:2::" + last + " dev " + end_);
    (void)must("ip addr add 2001:db8:2::" + last + "/64 dev eth0 nodad", box_.path());
    (void)must("ip route add default via 192.0.2.1", box_.path());
    (void)must("ip route add default via 2001:db8:2::1", box_.path());
    // Its own link-local address is none to send from before the kernel has looked for duplicates.
    if (!eventually([&] { return must("ip addr show dev eth0 tentative", box_.path()).empty(); }))
      give_up("eth0 keeps a tentative address");
    previous_ = {{"cniVersion", "1.0.0"},
                 {"interfaces", {{{"name", end_}}, {{"name", "eth0"}, {"sandbox", box_.path()}}}},
                 {"ips",
                  {{{"interface", 1}, {"address", "192.0.2." + last + "/24"}, {"gateway", "192.0.2.1"}},
                   {{"interface", 1}, {"address", "2001:db8:2::" + last + "/64"}, {"gateway", "2001:db8:2::1"}}}}};
  }

  [[nodiscard]] Answer call(const std::string& command, const std::vector<std::string>& drop) const {
    Json conf = Chain().firewall;
    if (!drop.empty()) conf["drop"] = list_of(drop);
    conf["prevResult"] = previous_;
    return call_plugin("slicer-firewall", conf,
                       {.command = command, .container_id = box_.name(), .netns = box_.path(), .ifname = "eth0"});
  }
  void must_add(const std::vector<std::string>& drop) const {
    const Answer answer = call("ADD", drop);
    INFO(answer.text());
    REQUIRE(answer.ok());
    const Answer checked = call("CHECK", drop);
    INFO(checked.text());
    CHECK(checked.ok());
  }

  [[nodiscard]] std::string netns() const { return box_.path(); }
  /// Of the host's end, with the number of the link that leads there.
  [[nodiscard]] std::string link_local() const {
    const std::string line = must("ip -o link show dev eth0", box_.path());
    return "fe80::1%" + line.substr(0, line.find(':'));
  }
  [[nodiscard]] const std::string& end() const { return end_; }

 private:
  std::string end_;
  Netns box_;
  Json previous_ = {};
};

const std::vector<std::string> kNothing{"0.0.0.0/0", "::/0"};

}  // namespace

TEST_CASE("policy: on a dual-stack routed network (ptp) no address that a VM sends from goes round the lists") {
  const Host host;
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Routed vm(1);
  const EchoServer on_host(Host::netns(), {kPort});
  (void)must("ip addr add 203.0.113.1/32 dev lo");
  (void)must("ip addr add 2001:db8:113::1/128 dev lo nodad");
  Host::sysctl("net/ipv4/conf/all/rp_filter", "0");
  Host::sysctl("net/ipv4/conf/" + vm.end() + "/rp_filter", "0");
  const std::vector<std::string> closed{"192.0.2.1", "203.0.113.1", "2001:db8:2::1", "2001:db8:113::1",
                                        vm.link_local()};
  for (const std::string& ip : closed) REQUIRE(soon_reaches(vm.netns(), {Protocol::kTcp, ip, kPort}));
  vm.must_add(kNothing);
  for (const std::string& ip : closed) CHECK_FALSE(reaches(vm.netns(), {Protocol::kTcp, ip, kPort}));
  // Neighbour discovery goes on, the host's way in is open.
  CHECK(soon_reaches(Host::netns(), {Protocol::kIcmp, "2001:db8:2::2", 0}));
  // From the link-local address alone, and from one of nobody's.
  (void)must("ip addr del 2001:db8:2::2/64 dev eth0", vm.netns());
  (void)must("ip route replace default via fe80::1 dev eth0", vm.netns());
  CHECK_FALSE(reaches(vm.netns(), {Protocol::kTcp, "2001:db8:113::1", kPort}));
  (void)must("ip addr add 2001:db8:77::2/128 dev eth0 nodad", vm.netns());
  (void)must("ip route add 2001:db8:77::2 dev " + vm.end());
  CHECK_FALSE(reaches(vm.netns(), {Protocol::kTcp, "2001:db8:113::1", kPort}));
  (void)must("ip addr flush dev eth0 scope global", vm.netns());
  (void)must("ip addr add 192.0.77.2/24 dev eth0", vm.netns());
  (void)must("ip route add 203.0.113.1 dev eth0 via 192.0.2.1 onlink", vm.netns());
  (void)must("ip route add 192.0.77.2 dev " + vm.end());
  CHECK_FALSE(reaches(vm.netns(), {Protocol::kTcp, "203.0.113.1", kPort}));
}

TEST_CASE(
    "policy: a routed network's lists hold for VMs that came before them, and a link of another group is refused") {
  const Host host;
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Routed one(1);
  const Routed two(2);
  const EchoServer on_host(Host::netns(), {kPort});
  one.must_add({});
  REQUIRE(soon_reaches(one.netns(), {Protocol::kTcp, one.link_local(), kPort}));
  two.must_add(kNothing);
  CHECK_FALSE(reaches(one.netns(), {Protocol::kTcp, one.link_local(), kPort}));
  CHECK(one.call("CHECK", kNothing).ok());
  (void)must("ip link set " + one.end() + " group 7");
  CHECK(one.call("CHECK", kNothing).code() == 105);
  const Answer refused = one.call("ADD", kNothing);
  CHECK(refused.code() == 102);
  CHECK(refused.text().find("it is in group 7 of somebody else's") != std::string::npos);
  CHECK(one.call("ADD", {}).ok());
}
