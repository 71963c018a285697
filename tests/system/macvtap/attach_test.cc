// slicer-macvtap from outside: what ADD makes and DEL removes.
#include <doctest/doctest.h>

#include <cstdio>

#include "lib/net/macvtap.h"
#include "tests/system/macvtap/macvtap_support.h"

using namespace slicer::test;
using namespace slicer::test::macvtap;

namespace net = slicer::net;

TEST_CASE("macvtap: ADD makes the attachment contract's pair, without addresses when there is no IPAM") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  const Json result = add(dhcp_conf(), call_in("ADD", box));
  const std::string mac = guest_entry(result, "vm-1").at("mac");
  CHECK(result["interfaces"] == Json{{{"name", "tap0"}, {"mac", mac}, {"mtu", 1500}, {"sandbox", box.path()}},
                                     {{"name", "tap0"}, {"mac", mac}, {"mtu", 1500}, {"sandbox", "vm-1"}}});
  CHECK_FALSE(result.contains("ips"));
  const std::string link = must("ip -d link show tap0", box.path());
  INFO(link);
  CHECK(link.find("macvtap mode bridge") != std::string::npos);
  CHECK(link.find(mac) != std::string::npos);
  CHECK(link.find(",UP") != std::string::npos);
  CHECK(link.find("alias slicer:lan/vm-1/tap0") != std::string::npos);
  CHECK(link.find("addrgenmode none") != std::string::npos);
  CHECK(must("ip -o addr show dev tap0", box.path()) == "");
  del(dhcp_conf(), call_in("DEL", box));
  CHECK_FALSE(run(words("ip link show tap0"), {.netns = box.path()}).ok());
}

TEST_CASE("macvtap: a guest with a static address reaches the LAN, and the LAN reaches it") {
  const Host host;
  const Surroundings around;
  const Vm vm(static_conf());
  CHECK(vm.ip() == "198.51.100.220");
  CHECK(vm.pings(Surroundings::kLanMachine));
  CHECK(pings(around.machine.path(), vm.ip()));
  CHECK(vm.pings(Surroundings::kInternet));
}

TEST_CASE("macvtap: the device is found in the namespace's sysfs, where two namespaces have the same /dev/tapN") {
  const Host host;
  const Surroundings around;
  const Netns one("one");
  const Netns two("two");
  (void)add(dhcp_conf(), call_in("ADD", one, "vm-1"));
  (void)add(dhcp_conf(), call_in("ADD", two, "vm-2"));
  // The same index in both: /dev/tapN could be only one of them.
  REQUIRE(must("cat /sys/class/net/lo/ifindex") == "1\n");
  const auto number = [](const Netns& ns) { return net::get_macvtap_device(*net::Netns::open(ns.path()), "tap0"); };
  REQUIRE(number(one));
  REQUIRE(number(two));
  CHECK(number(one)->major == number(two)->major);
  CHECK(number(one)->minor != number(two)->minor);
  const std::string before = must("ls -l /dev /run");
  CHECK(net::open_macvtap(*net::Netns::open(two.path()), "tap0"));
  CHECK(must("ls -l /dev /run") == before);
  const auto lo = net::open_macvtap(*net::Netns::open(two.path()), "lo");
  REQUIRE_FALSE(lo);
  CHECK(lo.error().kind == slicer::Kind::kNotFound);
  CHECK(lo.error().message == "find device of macvtap 'lo' in '/run/netns/two': the link is no macvtap");
}
