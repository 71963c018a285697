// The interface that macvtaps stand on: which one, and what becomes of the VMs when it changes.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <vector>

#include "tests/system/macvtap/macvtap_support.h"

using namespace slicer::test;
using namespace slicer::test::macvtap;

namespace {

/// The DHCP network without "parent".
Json auto_conf() {
  Json conf = dhcp_conf();
  conf.erase("parent");
  return conf;
}

/// A link of the host with a cable to nowhere.
void add_link(const std::string& name) {
  (void)must("ip link add " + name + " type veth peer name " + name + "-end");
  (void)must("ip link set " + name + "-end up");
  (void)must("ip link set " + name + " up");
}

/// The name of the link that tap0 stands on.
std::string parent_of(const Netns& box) {
  const Json links = Json::parse(must("ip -j link show dev tap0", box.path()));
  return must("cat /sys/class/net/" + [&] {
    for (const auto& link : Json::parse(must("ip -j link")))
      if (link.at("ifindex") == links[0].at("link_index")) return link.at("ifname").get<std::string>();
    return std::string("none");
  }() + "/uevent");
}

bool stands_on(const Netns& box, const std::string& link) {
  return parent_of(box).find("INTERFACE=" + link + "\n") != std::string::npos;
}

/// ADD must fail without leaving anything in the namespace.
Answer refused(const Json& conf, const Netns& box) {
  Answer answer = call(conf, call_in("ADD", box));
  CHECK_FALSE(answer.ok());
  CHECK_FALSE(run(words("ip link show tap0"), {.netns = box.path()}).ok());
  return answer;
}

/// A tunnel: a link that is no Ethernet, as WireGuard's.
struct Tunnel {
  explicit Tunnel(const char* name) : fd(open("/dev/net/tun", O_RDWR | O_CLOEXEC)) {
    ifreq request = {};
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    (void)strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(fd.get(), TUNSETIFF, &request) != 0) give_up("make tunnel");
    (void)must(std::string("ip link set ") + name + " up");
  }
  slicer::UniqueFd fd;
};

}  // namespace

TEST_CASE("macvtap parent: the interface of the default route, when none is named") {
  const Host host;
  const Netns box("box");
  for (const char* link : {"eth0", "eth1", "eth2"}) add_link(link);
  SUBCASE("none: an error says to set it") {
    const Answer answer = refused(auto_conf(), box);
    CHECK(answer.code() == 101);
    CHECK(answer.msg() == "choose \"parent\": the host has no default route, neither IPv4 nor IPv6");
    CHECK(answer.json["details"] == "set \"parent\" to the host's interface on the LAN (see `ip link`)");
  }
  SUBCASE("IPv4 only") {
    (void)must("ip route add default dev eth1");
    (void)add(auto_conf(), call_in("ADD", box));
    CHECK(stands_on(box, "eth1"));
  }
  SUBCASE("IPv6 only") {
    (void)must("ip -6 route add default dev eth2");
    (void)add(auto_conf(), call_in("ADD", box));
    CHECK(stands_on(box, "eth2"));
  }
  SUBCASE("both: IPv4's") {
    (void)must("ip -6 route add default dev eth2");
    (void)must("ip route add default dev eth1");
    (void)add(auto_conf(), call_in("ADD", box));
    CHECK(stands_on(box, "eth1"));
  }
  SUBCASE("two default routes: the lowest metric, whichever came first") {
    (void)must("ip route add default dev eth0 metric 200");
    (void)must("ip route add default dev eth1 metric 100");
    (void)must("ip route add default dev eth2 metric 300");
    (void)add(auto_conf(), call_in("ADD", box));
    CHECK(stands_on(box, "eth1"));
  }
  SUBCASE("two IPv6 default routes: the lowest metric") {
    (void)must("ip -6 route add default dev eth0 metric 200");
    (void)must("ip -6 route add default dev eth1 metric 100");
    (void)add(auto_conf(), call_in("ADD", box));
    CHECK(stands_on(box, "eth1"));
  }
  SUBCASE("several next hops: the first") {
    (void)must("ip addr add 198.51.100.2/24 dev eth1");
    (void)must("ip addr add 203.0.113.2/24 dev eth2");
    (void)must("ip route add default nexthop via 198.51.100.1 dev eth1 nexthop via 203.0.113.1 dev eth2");
    (void)add(auto_conf(), call_in("ADD", box));
    CHECK(stands_on(box, "eth1"));
  }
  SUBCASE("longer routes that cover everything, as VPNs make them, are no default route") {
    const Tunnel tunnel("vpn0");
    (void)must("ip route add default dev eth1");
    (void)must("ip route add 0.0.0.0/1 dev vpn0");
    (void)must("ip route add 128.0.0.0/1 dev vpn0");
    (void)add(auto_conf(), call_in("ADD", box));
    CHECK(stands_on(box, "eth1"));
  }
  SUBCASE("the same, of several next hops") {
    const Tunnel tunnel("vpn0");
    (void)must("ip addr add 198.51.100.2/24 dev eth1");
    (void)must("ip addr add 203.0.113.2/24 dev eth2");
    (void)must("ip route add default dev eth0 metric 200");
    (void)must("ip route add default metric 100 nexthop via 198.51.100.1 dev eth1 nexthop via 203.0.113.1 dev eth2");
    (void)must("ip route add 0.0.0.0/1 dev vpn0");
    (void)must("ip route add 128.0.0.0/1 dev vpn0");
    (void)add(auto_conf(), call_in("ADD", box));
    CHECK(stands_on(box, "eth1"));
  }
  SUBCASE("the routing table is asked, rules and all") {
    (void)must("ip route add default dev eth1");
    (void)must("ip route add default dev eth2 table 100");
    (void)must("ip rule add table 100 priority 1000");
    (void)add(auto_conf(), call_in("ADD", box));
    CHECK(stands_on(box, "eth2"));
  }
}

TEST_CASE("macvtap parent: a default route through a tunnel is refused with the reason") {
  const Host host;
  const Netns box("box");
  const Tunnel tunnel("wg0");
  (void)must("ip route add default dev wg0");
  const Answer answer = refused(auto_conf(), box);
  CHECK(answer.code() == 7);
  CHECK(answer.msg() == "use 'wg0' as \"parent\": it is no Ethernet interface but of kind 'tun'");
  CHECK(answer.json["details"] ==
        "set \"parent\" to an Ethernet interface of the LAN, or use slicer-isolated or slicer-bridge");
  CHECK(refused(with(dhcp_conf(), "parent", "wg0"), box).code() == 7);
  CHECK(refused(with(dhcp_conf(), "parent", "lo"), box).msg() == "use 'lo' as \"parent\": it is no Ethernet interface");
}

TEST_CASE("macvtap parent: one that cannot be is refused, with what to do") {
  const Host host;
  const Netns box("box");
  add_link("eth1");
  const Json conf = with(dhcp_conf(), "parent", "eth1");
  SUBCASE("missing") {
    const Answer answer = refused(with(conf, "parent", "eth7"), box);
    CHECK(answer.code() == 101);
    CHECK(answer.msg() == "use 'eth7' as \"parent\": there is no such link");
  }
  SUBCASE("down") {
    (void)must("ip link set eth1 down");
    const Answer answer = refused(conf, box);
    CHECK(answer.code() == 11);
    CHECK(answer.msg() == "use 'eth1' as \"parent\": it is down");
    CHECK(answer.json["details"] == "ip link set eth1 up");
    (void)must("ip link set eth1 up");
    (void)add(conf, call_in("ADD", box));
  }
  SUBCASE("a bridge's port") {
    (void)must("ip link add br0 type bridge");
    (void)must("ip link set br0 up");
    (void)must("ip link set eth1 master br0");
    const Answer answer = refused(conf, box);
    CHECK(answer.code() == 7);
    CHECK(answer.msg() == "use 'eth1' as \"parent\": it is a port of bridge 'br0'");
    CHECK(answer.json["details"] == "set \"parent\": \"br0\", or use slicer-bridge with \"bridge\": \"br0\"");
    (void)add(with(conf, "parent", "br0"), call_in("ADD", box));  // as it says
  }
  SUBCASE("passed through to another VM") {
    const Netns other("other");
    (void)add(with(conf, "mode", "passthru"), call_in("ADD", other, "vm-2"));
    const Answer answer = refused(conf, box);
    CHECK(answer.code() == 11);
    CHECK(answer.msg().find("attach to 'eth1': create macvtap 'tap0'") == 0);
    CHECK(answer.json["details"].get<std::string>().find("'passthru'") != std::string::npos);
  }
}

TEST_CASE("macvtap parent: a wireless one is refused by the host's own sysfs, whatever /sys shows") {
  const Host host;
  const Netns box("box");
  add_link("eth1");
  const Json conf = with(dhcp_conf(), "parent", "eth1");
  // A caller with another namespace's /sys, where a radio has this name and even this number.
  const std::string index = must("cat /sys/class/net/eth1/ifindex");
  (void)must("mount -t tmpfs tmpfs /sys/class/net");
  (void)must("mkdir -p /sys/class/net/eth1/phy80211");
  std::ofstream("/sys/class/net/eth1/ifindex") << index;
  (void)add(conf, call_in("ADD", box));
  del(conf, call_in("DEL", box));
  (void)must("umount /sys/class/net");

  if (!run(words("ip link add link eth1 name wlan1 type virt_wifi")).ok())
    SLICER_SKIP("this kernel has no radio to try it with (virt_wifi)");
  (void)must("ip link set wlan1 up");
  (void)must("mount -t tmpfs tmpfs /sys");
  const Answer answer = refused(with(conf, "parent", "wlan1"), box);
  CHECK(answer.code() == 7);
  CHECK(answer.msg() ==
        "use 'wlan1' as \"parent\": it is wireless, and an access point takes no frames from a VM's MAC");
}

TEST_CASE("macvtap parent: one with another master than a bridge is refused, with what to do") {
  const Host host;
  const Netns box("box");
  add_link("eth1");
  const auto can_make = [](const std::string& type) {
    if (!run(words("ip link add probe1 type " + type)).ok()) return false;
    (void)must("ip link del probe1");
    return true;
  };
  const std::vector<std::string> kinds = {"vrf table 10", "bond", "team"};
  if (std::ranges::none_of(kinds, can_make)) SLICER_SKIP("this kernel has neither VRF nor bond nor team");
  for (const std::string& type : kinds) {
    if (!can_make(type)) continue;
    CAPTURE(type);
    const std::string kind = type.substr(0, type.find(' '));
    (void)must("ip link add up1 type " + type);
    (void)must("ip link set up1 up");
    (void)must("ip link set eth1 down");
    (void)must("ip link set eth1 master up1");
    const Answer answer = refused(with(dhcp_conf(), "parent", "eth1"), box);
    CHECK(answer.code() == 7);
    CHECK(answer.msg() == "use 'eth1' as \"parent\": its master is 'up1' (" + kind + ")");
    if (kind == "vrf") {
      CHECK(answer.json["details"] ==
            "set \"parent\" to an interface that has no master, or take this one out of the VRF: ip link set eth1 "
            "nomaster");
      (void)must("ip link set eth1 nomaster");
      (void)must("ip link set eth1 up");
      (void)add(with(dhcp_conf(), "parent", "eth1"), call_in("ADD", box));  // as it says
    } else {
      CHECK(answer.json["details"] == "set \"parent\": \"up1\"");
      (void)add(with(dhcp_conf(), "parent", "up1"), call_in("ADD", box));  // as it says
    }
    del(dhcp_conf(), call_in("DEL", box));
    (void)must("ip link del up1");
  }
}

TEST_CASE("macvtap parent: down and up again, and the guest is back") {
  const Host host;
  const Surroundings around;
  const Vm vm(quick_conf());
  REQUIRE(vm.pings(Surroundings::kLanMachine));
  (void)must("ip link set lan0 down");
  CHECK_FALSE(pings(vm.guest.netns(), Surroundings::kLanMachine, 1));
  CHECK(call(with(quick_conf(), "prevResult", vm.result), call_in("CHECK", vm.box)).ok());
  (void)must("ip link set lan0 up");
  CHECK(eventually([&] { return pings(vm.guest.netns(), Surroundings::kLanMachine, 1); }));
}

TEST_CASE("macvtap parent: deleted under a running VM, DEL succeeds and gives the address back") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  const Json result = add(quick_conf(), call_in("ADD", box));
  const RawGuest guest({.tap = "tap0", .netns = box.path()});
  (void)must("ip link del lan0");
  CHECK_FALSE(run(words("ip link show tap0"), {.netns = box.path()}).ok());
  const Answer check = call(with(quick_conf(), "prevResult", result), call_in("CHECK", box));
  CHECK(check.code() == 105);
  CHECK(check.msg() == "check macvtap 'tap0': no such link");
  for (int i = 0; i < 2; ++i) del(quick_conf(), call_in("DEL", box));
  CHECK(must("find /var/lib/cni/networks/lan -name 198.51.100.*") == "");
}
