#include "plugins/firewall/config.h"

#include <doctest/doctest.h>

using namespace slicer;
using firewall::parse_config;

namespace {

cni::NetConf conf_of(const char* keys) {
  cni::NetConf conf{.name = "net"};
  conf.raw = cni::Json::parse(keys);
  return conf;
}

netfilter::PolicyVerdict verdict(const netfilter::CompiledPolicy& policy, const char* ip) {
  return policy.verdict_on(addr::parse_ip(ip).value(), {});
}

constexpr auto kDrop = netfilter::PolicyVerdict::kDrop;
constexpr auto kAllow = netfilter::PolicyVerdict::kAllow;

}  // namespace

TEST_CASE("firewall::parse_config: no lists, empty ones and null are the same") {
  for (const char* keys : {"{}", R"({"drop": [], "allow": []})", R"({"drop": null, "default": null})"}) {
    const auto config = parse_config(conf_of(keys));
    REQUIRE(config);
    CHECK_FALSE(config->restricts());
    CHECK_FALSE(config->own);
  }
}

TEST_CASE("firewall::parse_config: a VM's own list that is absent is inherited, an empty one clears") {
  const auto inherited =
      parse_config(conf_of(R"({"drop": ["192.0.2.0/24"], "runtimeConfig": {"policy": {"allow": ["192.0.2.7"]}}})"));
  REQUIRE(inherited);
  REQUIRE(inherited->own);
  CHECK(verdict(*inherited->own, "192.0.2.8") == kDrop);
  CHECK(verdict(*inherited->own, "192.0.2.7") == kAllow);
  CHECK(verdict(inherited->lists, "192.0.2.7") == kDrop);
  const auto cleared =
      parse_config(conf_of(R"({"drop": ["192.0.2.0/24"], "runtimeConfig": {"policy": {"drop": []}}})"));
  REQUIRE(cleared);
  REQUIRE(cleared->own);
  CHECK(cleared->own->allows_everything());
  const auto last_word =
      parse_config(conf_of(R"({"default": "drop", "runtimeConfig": {"policy": {"default": "allow"}}})"));
  REQUIRE(last_word);
  REQUIRE(last_word->own);
  CHECK(verdict(last_word->lists, "192.0.2.8") == kDrop);
  CHECK(verdict(*last_word->own, "192.0.2.8") == kAllow);
}

TEST_CASE("firewall::parse_config: own lists that say what the network's say are none") {
  const auto config = parse_config(conf_of(
      R"({"drop": ["192.0.2.0/24"], "runtimeConfig": {"policy": {"drop": ["192.0.2.0/25", "192.0.2.128/25"]}}})"));
  REQUIRE(config);
  CHECK_FALSE(config->own);
}

TEST_CASE("firewall::parse_config: firewalld is a zone, and other rules go where auto puts them") {
  const auto plain = parse_config(conf_of(R"({"backend": "firewalld"})"));
  REQUIRE(plain);
  CHECK(plain->zone == "trusted");
  CHECK(plain->backend == netfilter::BackendName::kAuto);
  CHECK(parse_config(conf_of(R"({"backend": "firewalld", "firewalldZone": "work"})"))->zone == "work");
  CHECK_FALSE(parse_config(conf_of(R"({"backend": "nftables", "firewalldZone": "work"})"))->zone);
  const auto other = parse_config(conf_of(R"({"backend": "ufw"})"));
  REQUIRE_FALSE(other);
  CHECK(other.error().message == R"("backend": "ufw" is none of "auto", "nftables", "iptables", "firewalld")");
}
