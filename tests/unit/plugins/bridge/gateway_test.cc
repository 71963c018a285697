#include "plugins/bridge/gateway.h"

#include <doctest/doctest.h>

using namespace slicer;
using bridge::Config;

namespace {

cni::CniResult from_ipam(std::initializer_list<const char*> addresses) {
  cni::CniResult result;
  for (const char* address : addresses) result.ips.push_back({.address = *addr::parse_cidr(address)});
  return result;
}

}  // namespace

TEST_CASE("bridge gateway: a gateway that IPAM left out is the subnet's first address") {
  const auto planned = bridge::plan_result(from_ipam({"192.0.2.7/25", "2001:db8::7/64"}), {.is_gateway = true});
  REQUIRE(planned.has_value());
  CHECK(planned->ips[0].gateway->text() == "192.0.2.1");
  CHECK(planned->ips[1].gateway->text() == "2001:db8::1");
  CHECK(planned->routes.empty());
  const auto gateways = bridge::gateway_addresses(*planned, {.is_gateway = true});
  REQUIRE(gateways.size() == 2);
  CHECK(gateways[0].text() == "192.0.2.1/25");
  CHECK(gateways[1].text() == "2001:db8::1/64");
}

TEST_CASE("bridge gateway: IPAM's gateway is kept, and without isGateway nothing is added") {
  cni::CniResult result = from_ipam({"192.0.2.7/24"});
  CHECK_FALSE(bridge::plan_result(result, {})->ips[0].gateway.has_value());
  CHECK(bridge::gateway_addresses(result, {}).empty());
  result.ips[0].gateway = *addr::parse_ip("192.0.2.254");
  CHECK(bridge::plan_result(result, {.is_gateway = true})->ips[0].gateway->text() == "192.0.2.254");
}

TEST_CASE("bridge gateway: isDefaultGateway adds a default route where IPAM gave none with a gateway") {
  const Config config{.is_gateway = true, .default_gateway = true};
  cni::CniResult result = from_ipam({"192.0.2.7/24", "2001:db8::7/64"});
  result.routes.push_back({.dst = *addr::parse_cidr("0.0.0.0/0"), .gw = *addr::parse_ip("192.0.2.9")});
  const auto planned = bridge::plan_result(result, config);
  REQUIRE(planned.has_value());
  REQUIRE(planned->routes.size() == 2);
  CHECK(planned->routes[0].gw->text() == "192.0.2.9");
  CHECK(planned->routes[1].dst.text() == "::/0");
  CHECK(planned->routes[1].gw->text() == "2001:db8::1");
}

TEST_CASE("bridge gateway: the configuration's dns goes before IPAM's") {
  cni::CniResult result = from_ipam({"192.0.2.7/24"});
  result.dns.nameservers = {"192.0.2.1"};
  CHECK(bridge::plan_result(result, {})->dns.nameservers[0] == "192.0.2.1");
  CHECK(bridge::plan_result(result, {.dns = {.nameservers = {"192.0.2.53"}}})->dns.nameservers[0] == "192.0.2.53");
}

TEST_CASE("bridge gateway: a VM has one address per family, a container several") {
  const cni::CniResult two = from_ipam({"192.0.2.7/24", "198.51.100.7/24"});
  const auto refused = bridge::plan_result(two, {});
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().kind == Kind::kInvalidConfig);
  CHECK(refused.error().message.find("\"ipam\"") != std::string::npos);
  CHECK(bridge::plan_result(two, {.device = bridge::Device::kVeth}).has_value());
}

TEST_CASE("bridge gateway: IPv6 needs an MTU of 1280") {
  CHECK_FALSE(bridge::plan_result(from_ipam({"2001:db8::7/64"}), {.mtu_bytes = 1279}).has_value());
  CHECK(bridge::plan_result(from_ipam({"2001:db8::7/64"}), {.mtu_bytes = 1280}).has_value());
  CHECK(bridge::plan_result(from_ipam({"192.0.2.7/24"}), {.mtu_bytes = 1279}).has_value());
}
