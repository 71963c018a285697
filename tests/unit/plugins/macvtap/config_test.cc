#include "plugins/macvtap/config.h"

#include <doctest/doctest.h>

#include <map>
#include <string>

using namespace slicer;
using cni::Json;
using macvtap::Config;
using net::MacvlanMode;

namespace {

Result<Config> parse(const char* json, const std::map<std::string, std::string>& args = {}) {
  const cni::NetConf conf{.raw = Json::parse(json), .name = "lan", .type = "slicer-macvtap"};
  return macvtap::parse_config(conf, {.args = args});
}

std::string refusal(const char* json) {
  const Result<Config> config = parse(json);
  CAPTURE(json);
  REQUIRE_FALSE(config.has_value());
  CHECK(config.error().kind == Kind::kInvalidConfig);
  CHECK(config.error().hint != "");
  return config.error().message;
}

}  // namespace

TEST_CASE("macvtap config: nothing but a name is needed") {
  const Result<Config> config = parse("{}");
  REQUIRE(config.has_value());
  CHECK(config->parent == "");
  CHECK(config->mode == MacvlanMode::kBridge);
  CHECK(config->mtu_bytes == 0);
  CHECK(config->guard_mac);
  CHECK(config->guard_ip);
  CHECK(config->probe);
  CHECK_FALSE(config->mac.has_value());
}

TEST_CASE("macvtap config: every key is read") {
  const Result<Config> config = parse(R"({"parent": "eth1", "mode": "vepa", "mtu": 1400, "mac": "02:00:5e:00:53:01",
    "probe": false, "macspoofchk": true, "ipspoofchk": false, "dns": {"nameservers": ["192.0.2.53"]}})");
  REQUIRE(config.has_value());
  CHECK(config->parent == "eth1");
  CHECK(config->mode == MacvlanMode::kVepa);
  CHECK(config->mtu_bytes == 1400);
  CHECK(config->mac->text() == "02:00:5e:00:53:01");
  CHECK_FALSE(config->probe);
  CHECK(config->guard_mac);
  CHECK_FALSE(config->guard_ip);
  CHECK(config->dns.nameservers == std::vector<std::string>{"192.0.2.53"});
}

TEST_CASE("macvtap config: modes by name") {
  const std::map<std::string, MacvlanMode> modes{{"bridge", MacvlanMode::kBridge},
                                                 {"vepa", MacvlanMode::kVepa},
                                                 {"private", MacvlanMode::kPrivate},
                                                 {"passthru", MacvlanMode::kPassthru},
                                                 {"", MacvlanMode::kBridge}};
  for (const auto& [name, mode] : modes) {
    const Result<Config> config = parse((R"({"mode": ")" + name + R"("})").c_str());
    REQUIRE(config.has_value());
    CHECK(config->mode == mode);
  }
}

TEST_CASE("macvtap config: the call's MAC before the configuration's") {
  const char* both = R"({"mac": "02:00:5e:00:53:01", "runtimeConfig": {"mac": "02:00:5e:00:53:02"}})";
  CHECK(parse(both)->mac->text() == "02:00:5e:00:53:02");
  CHECK(parse(R"({"mac": "02:00:5e:00:53:01"})", {{"MAC", "02:00:5e:00:53:03"}})->mac->text() == "02:00:5e:00:53:03");
}

TEST_CASE("macvtap config: no check of the MAC, none of addresses") {
  CHECK_FALSE(parse(R"({"macspoofchk": false})")->guard_ip);
  CHECK(refusal(R"({"macspoofchk": false, "ipspoofchk": true})") == "\"ipspoofchk\": true needs \"macspoofchk\": true");
}

TEST_CASE("macvtap config: what cannot be is refused with key and value") {
  CHECK(refusal(R"({"mode": "source"})") == "\"mode\": 'source' is none of 'bridge', 'vepa', 'private' and 'passthru'");
  CHECK(refusal(R"({"mtu": 65536})") == "\"mtu\": 65536 is neither 0 nor in 68-65535");
  CHECK(refusal(R"({"mtu": -1})") == "\"mtu\": -1 is neither 0 nor in 68-65535");
  CHECK(refusal(R"({"mtu": "1500"})") == "\"mtu\": expected an integer, got \"1500\"");
  CHECK(refusal(R"({"parent": 1})") == "\"parent\": expected a string, got 1");
  CHECK(refusal(R"({"parent": "a-name-of-sixteen"})").find("\"parent\": 'a-name-of-sixteen' cannot name a link") == 0);
  CHECK(refusal(R"({"ipam": {"gateway": "192.0.2.1/24"}})") == "\"ipam\": \"type\" is missing");
  CHECK(refusal(R"({"probe": 0})") == "\"probe\": expected true or false, got 0");
  CHECK(refusal(R"({"dns": {"nameservers": ["router"]}})").find("\"dns\": \"nameservers\": ") == 0);
}
