// lib/net's addresses, routes and neighbours on the real kernel.
#include "lib/net/address.h"

#include <cstdio>

#include "lib/net/link.h"
#include "lib/net/neighbour.h"
#include "lib/net/route.h"
#include "tests/system/fixture/host.h"
#include "tests/system/fixture/process.h"
#include "tests/system/net/helpers.h"

using namespace slicer;
using namespace slicer::test;
using net::RouteSocket;

namespace {

/// A session and a bridge that is up (with carrier, by a port), to put things on.
struct Place {
  RouteSocket ns = got(RouteSocket::open());
  int bridge = got(net::create_bridge(ns, {.name = "slb0"}));
  int port = got(net::create_veth(ns, {.here = {.name = "slv0"}, .master = bridge, .peer = {.name = "slx0"}}));
};

}  // namespace

TEST_CASE("address: is added once, without duplicate address detection, and removed once") {
  const Host host;
  Place at;
  for (const char* text : {"192.0.2.1/24", "2001:db8::1/64"}) {
    const addr::Cidr address = cidr_of(text);
    CHECK(got(net::ensure_address(at.ns, at.bridge, {.address = address})));
    CHECK_FALSE(got(net::ensure_address(at.ns, at.bridge, {.address = address})));
    CHECK(got(net::has_address(at.ns, at.bridge, address)));
    CHECK_FALSE(got(net::has_address(at.ns, at.port, address)));
    for (const net::LinkAddress& each : got(net::list_addresses(at.ns, at.bridge, address.family())))
      CHECK_FALSE((each.address == address && each.tentative));
    got(net::delete_address(at.ns, at.bridge, address));
    got(net::delete_address(at.ns, at.bridge, address));
    CHECK_FALSE(got(net::has_address(at.ns, at.bridge, address)));
  }
  got(net::delete_address(at.ns, 4711, cidr_of("192.0.2.1/24")));
}

TEST_CASE("address: with duplicate address detection it is tentative at first") {
  const Host host;
  Place at;
  CHECK(got(net::ensure_address(at.ns, at.bridge, {.address = cidr_of("2001:db8::1/64"), .no_dad = false})));
  bool tentative = false;
  for (const net::LinkAddress& each : got(net::list_addresses(at.ns, at.bridge, addr::Family::kIpv6)))
    if (each.address == cidr_of("2001:db8::1/64")) tentative = each.tentative;
  CHECK(tentative);
}

TEST_CASE("address: another prefix length is another address") {
  const Host host;
  Place at;
  (void)got(net::ensure_address(at.ns, at.bridge, {.address = cidr_of("192.0.2.1/24")}));
  CHECK_FALSE(got(net::has_address(at.ns, at.bridge, cidr_of("192.0.2.1/25"))));
  (void)got(net::ensure_address(at.ns, at.bridge, {.address = cidr_of("2001:db8::1/64")}));
  CHECK(refused(net::ensure_address(at.ns, at.bridge, {.address = cidr_of("2001:db8::1/80")})).kind == Kind::kExists);
}

TEST_CASE("address: refusals name address and link, and say what to do") {
  const Host host;
  Place at;
  const Error absent = refused(net::ensure_address(at.ns, 4711, {.address = cidr_of("192.0.2.1/24")}));
  CHECK(absent.kind == Kind::kNotFound);
  CHECK(absent.message.find("add address '192.0.2.1/24' on link 4711: ") == 0);
  Host::sysctl("net/ipv6/conf/slb0/disable_ipv6", "1");
  CHECK(refused(net::ensure_address(at.ns, at.bridge, {.address = cidr_of("2001:db8::1/64")}))
            .hint.find("disable_ipv6") != std::string::npos);
}

TEST_CASE("route: is added once, found by look-up and by list, and removed once") {
  const Host host;
  Place at;
  (void)got(net::ensure_address(at.ns, at.bridge, {.address = cidr_of("192.0.2.1/24")}));
  (void)got(net::ensure_address(at.ns, at.bridge, {.address = cidr_of("2001:db8::1/64")}));
  const net::Route routes[] = {
      {.destination = cidr_of("203.0.113.7/32"), .device = at.bridge},
      {.destination = cidr_of("203.0.113.0/24"), .device = at.bridge, .gateway = ip_of("192.0.2.9")},
      {.destination = cidr_of("198.51.100.0/24"),
       .device = at.bridge,
       .gateway = ip_of("169.254.1.1"),
       .on_link = true},
      {.destination = cidr_of("0.0.0.0/0"), .device = at.bridge, .gateway = ip_of("192.0.2.9"), .metric = 100},
      {.destination = cidr_of("2001:db8:7::7/128"), .device = at.bridge},
      {.destination = cidr_of("2001:db8:7::/64"), .device = at.bridge, .gateway = ip_of("2001:db8::9")},
      {.destination = cidr_of("::/0"), .device = at.bridge, .gateway = ip_of("2001:db8::9"), .mtu_bytes = 1400},
      {.destination = cidr_of("203.0.113.0/25"), .device = at.bridge, .table = 1000},
  };
  for (const net::Route& route : routes) {
    CAPTURE(route.destination.text());
    CHECK_FALSE(got(net::has_route(at.ns, route)));
    CHECK(got(net::ensure_route(at.ns, route)));
    CHECK_FALSE(got(net::ensure_route(at.ns, route)));
    CHECK(refused(net::add_route(at.ns, route)).kind == Kind::kExists);
    CHECK(got(net::has_route(at.ns, route)));
  }
  CHECK(got(net::find_default_route(at.ns, addr::Family::kIpv4))->gateway == ip_of("192.0.2.9"));
  CHECK(got(net::find_default_route(at.ns, addr::Family::kIpv6))->mtu_bytes == 1400);
  for (const net::Route& route : routes) {
    CAPTURE(route.destination.text());
    got(net::delete_route(at.ns, route));
    got(net::delete_route(at.ns, route));
    CHECK_FALSE(got(net::has_route(at.ns, route)));
  }
}

TEST_CASE("route: one of the same destination by another way is in the way") {
  const Host host;
  Place at;
  (void)got(net::ensure_address(at.ns, at.bridge, {.address = cidr_of("192.0.2.1/24")}));
  net::Route route{.destination = cidr_of("203.0.113.7/32"), .device = at.bridge};
  got(net::add_route(at.ns, route));
  route.device = at.port;
  const Error error = refused(net::ensure_route(at.ns, route));
  CHECK(error.kind == Kind::kExists);
  CHECK(error.message.find("add route '203.0.113.7/32' on link ") == 0);
  CHECK_FALSE(got(net::has_route(at.ns, route)));
  got(net::delete_route(at.ns, route));  // not ours: stays
  route.device = at.bridge;
  CHECK(got(net::has_route(at.ns, route)));
}

TEST_CASE("route: one by another gateway is another route") {
  const Host host;
  Place at;
  (void)got(net::ensure_address(at.ns, at.bridge, {.address = cidr_of("192.0.2.1/24")}));
  for (const char* destination : {"203.0.113.7/32", "203.0.113.0/24"}) {
    net::Route route{.destination = cidr_of(destination), .device = at.bridge, .gateway = ip_of("192.0.2.9")};
    got(net::add_route(at.ns, route));
    route.gateway = ip_of("192.0.2.10");
    CHECK_FALSE(got(net::has_route(at.ns, route)));
    CHECK(refused(net::ensure_route(at.ns, route)).kind == Kind::kExists);
  }
}

TEST_CASE("route: look-up gives the longest match, or none") {
  const Host host;
  Place at;
  for (const char* far : {"203.0.113.7", "2001:db8:7::7"}) {
    CAPTURE(far);
    CHECK_FALSE(got(net::find_route_to(at.ns, ip_of(far))).has_value());
  }
  (void)got(net::ensure_address(at.ns, at.bridge, {.address = cidr_of("192.0.2.1/24")}));
  (void)got(net::ensure_address(at.ns, at.bridge, {.address = cidr_of("2001:db8::1/64")}));
  got(net::add_route(at.ns, {.destination = cidr_of("0.0.0.0/0"), .device = at.bridge, .gateway = ip_of("192.0.2.9")}));
  got(net::add_route(at.ns, {.destination = cidr_of("::/0"), .device = at.bridge, .gateway = ip_of("2001:db8::9")}));
  CHECK(got(net::find_route_to(at.ns, ip_of("203.0.113.7")))->destination == cidr_of("0.0.0.0/0"));
  CHECK(got(net::find_route_to(at.ns, ip_of("2001:db8:7::7")))->destination == cidr_of("::/0"));
  CHECK(got(net::find_route_to(at.ns, ip_of("192.0.2.7")))->destination == cidr_of("192.0.2.0/24"));
  CHECK(got(net::find_route_to(at.ns, ip_of("2001:db8::7")))->device == at.bridge);
  CHECK_FALSE(got(net::find_default_route(at.ns, addr::Family::kIpv4))->metric.has_value());
}

TEST_CASE("neighbour: permanent, ours, overwritten in place, listed per device") {
  const Host host;
  Place at;
  for (const char* text : {"192.0.2.7", "2001:db8::7"}) {
    const addr::Ip ip = ip_of(text);
    CHECK_FALSE(got(net::find_neighbour(at.ns, at.bridge, ip)).has_value());
    got(net::ensure_neighbour(at.ns, {.device = at.bridge, .ip = ip, .mac = mac_of("02:00:5e:00:53:01")}));
    got(net::ensure_neighbour(at.ns, {.device = at.bridge, .ip = ip, .mac = mac_of("02:00:5e:00:53:02")}));
    const auto found = got(net::find_neighbour(at.ns, at.bridge, ip));
    REQUIRE(found.has_value());
    CHECK(found->mac == mac_of("02:00:5e:00:53:02"));
    CHECK(found->permanent);
    CHECK(found->protocol == net::kNeighbourProtocol);
  }
  (void)must("ip neigh add 192.0.2.8 lladdr 02:00:5e:00:53:08 dev slb0 nud permanent");
  CHECK(got(net::list_neighbours(at.ns, at.bridge)).size() == 2);
  CHECK(got(net::list_neighbours(at.ns, at.port)).empty());
  CHECK(got(net::find_neighbour(at.ns, at.bridge, ip_of("192.0.2.8")))->protocol == 0);
  for (int i = 0; i < 2; ++i) got(net::delete_neighbour(at.ns, at.bridge, ip_of("192.0.2.7")));
  CHECK(got(net::list_neighbours(at.ns, at.bridge)).size() == 1);
  CHECK(refused(net::ensure_neighbour(at.ns, {.device = 4711, .ip = ip_of("192.0.2.7")})).kind == Kind::kNotFound);
}

TEST_CASE("neighbour: proxy entries of both families") {
  const Host host;
  Place at;
  for (const char* text : {"192.0.2.7", "2001:db8::7"}) {
    const addr::Ip ip = ip_of(text);
    CHECK_FALSE(got(net::has_proxy_neighbour(at.ns, at.bridge, ip)));
    for (int i = 0; i < 2; ++i) got(net::ensure_proxy_neighbour(at.ns, at.bridge, ip));
    CHECK(got(net::has_proxy_neighbour(at.ns, at.bridge, ip)));
    CHECK_FALSE(got(net::has_proxy_neighbour(at.ns, at.port, ip)));
  }
  CHECK(got(net::list_proxy_neighbours(at.ns, at.bridge)).size() == 2);
  for (int i = 0; i < 2; ++i) got(net::delete_proxy_neighbour(at.ns, at.bridge, ip_of("2001:db8::7")));
  CHECK(got(net::list_proxy_neighbours(at.ns, at.bridge)) == std::vector{ip_of("192.0.2.7")});
}
