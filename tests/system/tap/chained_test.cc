// slicer-tap behind a plugin that made a container's interface.
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/system/tap/tap_support.h"

using namespace slicer::test;
using namespace slicer::test::tap;

TEST_CASE("tap: ADD gives the container's interface to a VM, and says so by the contract") {
  const Host host;
  const Container container;
  const Json result = container.add(container.conf());
  INFO(result.dump(1));
  REQUIRE(result["interfaces"].size() == container.result["interfaces"].size() + 2);
  for (size_t i = 0; i < container.result["interfaces"].size(); ++i)
    CHECK(result["interfaces"][i] == container.result["interfaces"][i]);
  const Json eth0 = result["interfaces"][2];
  const Json tap = result["interfaces"][3];
  const Json guest = result["interfaces"][4];
  CHECK(tap["name"] == "tap0");
  CHECK(tap["sandbox"] == container.box.path());
  CHECK(guest["name"] == "tap0");
  CHECK(guest["sandbox"] == "vm-1");
  CHECK(guest["mac"] == eth0["mac"]);
  CHECK(tap["mac"] != eth0["mac"]);
  CHECK(tap["mtu"] == eth0["mtu"]);
  REQUIRE(result["ips"].size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    CHECK(result["ips"][i]["interface"] == 4);
    CHECK(result["ips"][i]["address"] == container.result["ips"][i]["address"]);
    CHECK(result["ips"][i]["gateway"] == container.result["ips"][i]["gateway"]);
  }
  CHECK(result["routes"] == container.result["routes"]);
  const std::string link = must("ip -d link show dev tap0", container.box.path());
  CHECK(link.find("persist on") != std::string::npos);
  CHECK(link.find("user root") != std::string::npos);
  CHECK(link.find("slicer:demo/vm-1/eth0") != std::string::npos);
}

TEST_CASE("tap: packets pass both ways, of both families") {
  const Host host;
  const Surroundings around;
  around.route_to_vms("192.0.2.0/24");
  around.route_to_vms("2001:db8:1::/64");
  const Container container;
  const Json result = container.add(container.conf());
  const Guest guest(Guest::from_result(result, container.call("ADD"), "guest-1"));
  CHECK(pings(guest.netns(), "192.0.2.1"));
  CHECK(pings(guest.netns(), Surroundings::kInternet));
  CHECK(pings(guest.netns(), Surroundings::kInternet6));
  CHECK(pings(Host::netns(), ip_of(result, 4)));
  CHECK(pings(around.machine.path(), ip_of(result, 4)));
  CHECK(pings(around.machine.path(), ip_of(result, 6)));
}
