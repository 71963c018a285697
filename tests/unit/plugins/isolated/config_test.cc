#include "plugins/isolated/config.h"

#include <doctest/doctest.h>

using namespace slicer;
using cni::Json;
using isolated::Config;

namespace {

cni::NetConf net_conf(const char* json) {
  return cni::NetConf{.raw = Json::parse(json), .name = "sandbox", .type = "slicer-isolated"};
}

Result<Config> parse(const char* json, const std::map<std::string, std::string>& args = {}) {
  return isolated::parse_config(net_conf(json), {.args = args});
}

bool refuses(const char* json, const char* text, Kind kind = Kind::kInvalidConfig) {
  const Result<Config> config = parse(json);
  CAPTURE(json);
  REQUIRE_FALSE(config.has_value());
  INFO("message: ", config.error().message);
  CHECK(config.error().kind == kind);
  return config.error().message.find(text) != std::string::npos;
}

}  // namespace

TEST_CASE("isolated config: nothing but a name is needed") {
  const Result<Config> config = parse("{}");
  REQUIRE(config.has_value());
  CHECK_FALSE(config->range.has_value());
  CHECK(config->mtu_bytes == 1500);
  CHECK(config->ip_masq);
  CHECK(config->owner.user == 0);
  CHECK(config->own_ipam);
  CHECK(config->ipam == Json{{"type", "slicer-ipam"}, {"block", 30}});
}

TEST_CASE("isolated config: every key is read") {
  const Result<Config> config = parse(R"({"range": "192.0.2.0/24", "mtu": 1400, "ipMasq": false,
    "backend": "iptables", "ipMasqBackend": "nftables", "owner": 64055, "group": 108, "macspoofchk": true, "ipspoofchk": true,
    "dns": {"nameservers": ["192.0.2.53"]}, "runtimeConfig": {"mac": "02:00:5e:00:53:01"},
    "ipam": {"type": "slicer-ipam", "dataDir": "/run/x", "routes": [{"dst": "0.0.0.0/0"}]}})");
  REQUIRE(config.has_value());
  CHECK(config->range->text() == "192.0.2.0/24");
  CHECK(config->mtu_bytes == 1400);
  CHECK_FALSE(config->ip_masq);
  CHECK(config->backend == netfilter::BackendName::kIptables);
  CHECK(config->masq_backend == netfilter::BackendName::kNftables);
  CHECK(config->owner.user == 64055);
  CHECK(config->owner.group == 108);
  CHECK(config->dns.nameservers == std::vector<std::string>{"192.0.2.53"});
  CHECK(config->mac->text() == "02:00:5e:00:53:01");
  CHECK(config->ipam["dataDir"] == "/run/x");
  CHECK(config->ipam["block"] == 30);
}

TEST_CASE("isolated config: the caller's owner comes before the configuration's") {
  const Result<Config> config =
      parse(R"({"owner": 1, "group": 2})", {{"TC_REDIRECT_TAP_UID", "7"}, {"TC_REDIRECT_TAP_GID", "8"}});
  REQUIRE(config.has_value());
  CHECK(config->owner.user == 7);
  CHECK(config->owner.group == 8);
  const Result<Config> bad = parse("{}", {{"TC_REDIRECT_TAP_UID", "root"}});
  REQUIRE_FALSE(bad.has_value());
  CHECK(bad.error().kind == Kind::kInvalidEnvironment);
}

TEST_CASE("isolated config: a subnet of the IPAM section is the range") {
  const Result<Config> config = parse(R"({"ipam": {"type": "slicer-ipam", "subnet": "192.0.2.0/24", "block": 30}})");
  REQUIRE(config.has_value());
  CHECK(config->range->text() == "192.0.2.0/24");
}

TEST_CASE("isolated config: another IPAM is left to itself") {
  const Result<Config> config = parse(R"({"ipam": {"type": "static", "addresses": [{"address": "192.0.2.2/30"}]}})");
  REQUIRE(config.has_value());
  CHECK_FALSE(config->own_ipam);
  CHECK(refuses(R"({"range": "192.0.2.0/24", "ipam": {"type": "static"}})", "\"range\""));
}

TEST_CASE("isolated config: a wrong key is named with its value") {
  CHECK(refuses(R"({"range": 22})", "\"range\""));
  CHECK(refuses(R"({"range": "169.254.100.1/22"})", "\"range\": '169.254.100.1/22' has host bits set"));
  CHECK(refuses(R"({"mtu": 100})", "\"mtu\": 100"));
  CHECK(refuses(R"({"mtu": "big"})", "\"mtu\""));
  CHECK(refuses(R"({"ipMasq": 1})", "\"ipMasq\""));
  CHECK(refuses(R"({"ipMasqBackend": "pf"})", "\"ipMasqBackend\""));
  CHECK(refuses(R"({"backend": "pf"})", "\"backend\""));
  CHECK(refuses(R"({"dns": {"nameservers": ["ns.example"]}})", "ns.example"));
  CHECK(refuses(R"({"macspoofchk": false})", "\"macspoofchk\": false", Kind::kUnsupportedField));
  CHECK(refuses(R"({"ipspoofchk": false})", "\"ipspoofchk\": false", Kind::kUnsupportedField));
  CHECK(refuses(R"({"owner": -1})", "\"owner\""));
  CHECK(refuses(R"({"group": 4294967295})", "\"group\""));
  CHECK(refuses(R"({"ipam": []})", "\"ipam\""));
  CHECK(refuses(R"({"ipam": {"type": 3}})", "\"type\""));
  CHECK(refuses(R"({"ipam": {"type": "slicer-ipam", "block": 29}})", "\"block\": 29"));
  CHECK(refuses(R"({"ipam": {"type": "slicer-ipam", "ranges": [[{"subnet": "192.0.2.0/24"}]]}})", "\"ranges\""));
  CHECK(refuses(R"({"range": "192.0.2.0/24", "ipam": {"type": "slicer-ipam", "subnet": "192.0.2.0/24"}})", "two ways"));
}

TEST_CASE("isolated config: a broken one still says where the addresses are") {
  const Config config = isolated::cleanup_config(
      net_conf(R"({"mtu": "big", "ipam": {"type": "slicer-ipam", "dataDir": "/run/x", "block": 29}})"));
  CHECK(config.own_ipam);
  CHECK(config.ipam["dataDir"] == "/run/x");
  CHECK(config.ipam["block"] == 30);
  CHECK(isolated::cleanup_config(net_conf(R"({"ipam": 7})")).own_ipam);
  CHECK_FALSE(isolated::cleanup_config(net_conf(R"({"range": 1, "ipam": {"type": "static"}})")).own_ipam);
}
