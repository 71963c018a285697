#include "plugins/tap/config.h"

#include <doctest/doctest.h>

#include <map>
#include <string>

using namespace slicer;
using cni::Json;
using tap::Config;

namespace {

cni::NetConf conf_of(const char* json) {
  cni::NetConf conf{.raw = Json::parse(json), .name = "net", .type = "slicer-tap"};
  if (conf.raw.contains("ipam")) conf.ipam_type = conf.raw["ipam"].value("type", "");
  return conf;
}

Result<Config> parse(const char* json, const std::map<std::string, std::string>& args = {}) {
  return tap::parse_config(conf_of(json), {.args = args});
}

std::string refusal(const char* json, const std::map<std::string, std::string>& args = {},
                    Kind kind = Kind::kInvalidConfig) {
  const Result<Config> config = parse(json, args);
  CAPTURE(json);
  REQUIRE_FALSE(config.has_value());
  CHECK(config.error().kind == kind);
  return config.error().message;
}

}  // namespace

TEST_CASE("tap config: tc-redirect-tap's configuration, which has no keys") {
  const Result<Config> config = parse("{}");
  REQUIRE(config.has_value());
  CHECK(config->tap_name == "");
  CHECK(config->mtu_bytes == 0);
  CHECK_FALSE(config->multi_queue);
  CHECK_FALSE(config->guard_mac);
  CHECK_FALSE(config->guard_ip);
  CHECK(config->owner.user == 0);
  CHECK_FALSE(config->owner.group.has_value());
  CHECK(tap::refuse_plain_keys(*config, conf_of("{}")).has_value());
}

TEST_CASE("tap config: upstream tap's configuration") {
  const Result<Config> config = parse(R"({"multiQueue": true, "mtu": 1400, "mac": "00:11:22:33:44:55", "owner": 1000,
    "group": 2000, "selinuxContext": "system_u:system_r:container_t:s0", "bridge": "br0", "args": {},
    "dns": {"nameservers": ["192.0.2.53"]}, "ipam": {"type": "host-local"}})");
  REQUIRE(config.has_value());
  CHECK(config->multi_queue);
  CHECK(config->mtu_bytes == 1400);
  CHECK(config->mac->text() == "00:11:22:33:44:55");
  CHECK_FALSE(config->asked.has_value());
  CHECK(config->owner.user == 1000);
  CHECK(config->owner.group == 2000);
  CHECK(config->selinux_label == "system_u:system_r:container_t:s0");
  CHECK(config->bridge == "br0");
  CHECK(config->dns.nameservers == std::vector<std::string>{"192.0.2.53"});
}

TEST_CASE("tap config: what CNI_ARGS says wins") {
  const Result<Config> config =
      parse(R"({"owner": 1, "group": 2, "mac": "02:00:5e:00:53:01"})", {{"TC_REDIRECT_TAP_NAME", "vm0"},
                                                                        {"TC_REDIRECT_TAP_UID", "1000"},
                                                                        {"TC_REDIRECT_TAP_GID", "1001"},
                                                                        {"MAC", "02:00:5e:00:53:02"},
                                                                        {"K8S_POD_NAME", "x"}});
  REQUIRE(config.has_value());
  CHECK(config->tap_name == "vm0");
  CHECK(config->owner.user == 1000);
  CHECK(config->owner.group == 1001);
  CHECK(config->mac->text() == "02:00:5e:00:53:02");
  CHECK(config->asked == config->mac);
}

TEST_CASE("tap config: runtimeConfig's MAC is before that of CNI_ARGS") {
  const Result<Config> config =
      parse(R"({"runtimeConfig": {"mac": "02:00:5e:00:53:03"}})", {{"MAC", "02:00:5e:00:53:02"}});
  REQUIRE(config.has_value());
  CHECK(config->asked->text() == "02:00:5e:00:53:03");
}

TEST_CASE("tap config: a wrong value names its key") {
  CHECK(refusal(R"({"mtu": 67})").find("\"mtu\": 67") != std::string::npos);
  CHECK(refusal(R"({"mtu": "big"})").find("\"mtu\"") != std::string::npos);
  CHECK(refusal(R"({"multiQueue": 2})").find("\"multiQueue\"") != std::string::npos);
  CHECK(refusal(R"({"mac": "01:00:5e:00:00:01"})").find("\"mac\"") != std::string::npos);
  CHECK(refusal(R"({"mac": 7})").find("\"mac\"") != std::string::npos);
  CHECK(refusal(R"({"owner": "root"})").find("\"owner\"") != std::string::npos);
  CHECK(refusal(R"({"group": -1})").find("\"group\"") != std::string::npos);
  CHECK(refusal(R"({"bridge": "a/b"})").find("\"bridge\"") != std::string::npos);
  CHECK(refusal(R"({"selinuxContext": 1})").find("\"selinuxContext\"") != std::string::npos);
  CHECK(refusal(R"({"macspoofchk": false, "ipspoofchk": true})").find("\"ipspoofchk\"") != std::string::npos);
  CHECK(refusal(R"({"dns": {"nameservers": ["dns.example"]}})").find("\"dns\"") != std::string::npos);
}

TEST_CASE("tap config: a group alone is whose members may open the TAP, as with upstream's tap") {
  const auto owner_of = [](const char* json, const std::map<std::string, std::string>& args = {}) {
    return parse(json, args).value().owner;
  };
  CHECK_FALSE(owner_of(R"({"group": 108})").user.has_value());
  CHECK(owner_of(R"({"group": 108})").group == 108);
  CHECK(owner_of(R"({"owner": 0, "group": 108})").user == 0);
  CHECK(owner_of(R"({"group": 108})", {{"TC_REDIRECT_TAP_UID", "1000"}}).user == 1000);
  // tc-redirect-tap's owner is then its own.
  CHECK(owner_of("{}", {{"TC_REDIRECT_TAP_GID", "108"}}).user == 0);
  CHECK(owner_of(R"({"group": 108})", {{"TC_REDIRECT_TAP_GID", "109"}}).user == 0);
}

TEST_CASE("tap config: an empty TC_REDIRECT_TAP_NAME is none, as with tc-redirect-tap") {
  CHECK(parse("{}", {{"TC_REDIRECT_TAP_NAME", ""}}).value().tap_name == "");
}

TEST_CASE("tap config: a SELinux label has the kernel's form") {
  const auto conf = [](const std::string& label) { return Json{{"selinuxContext", label}}.dump(); };
  for (const std::string label :
       {"u:r:t", "system_u:system_r:svirt_t:s0:c1,c2", "unconfined_u:unconfined_r:some.type-x_t:s0-s15:c0.c1023", ""}) {
    CAPTURE(label);
    CHECK(parse(conf(label).c_str()).value().selinux_label == label);
  }
  using namespace std::string_literals;
  for (const std::string& label : {"u"s, "u:r"s, ":r:t"s, "u::t"s, "u:r:"s, "u:r:t:"s, ":::"s, "u:r:t:s0 "s, "u:r:t\n"s,
                                   "exec u:r:t"s, "u:r:t:\u00e9"s, "u:r:t/x"s}) {
    CAPTURE(label);
    CHECK(refusal(conf(label).c_str()).starts_with("\"selinuxContext\": '" + label + "' is no label"));
  }
  CHECK(refusal(conf("u:r:t\0"s).c_str()).starts_with("\"selinuxContext\": \"u:r:t\\u0000\" has a NUL"));
  CHECK(parse(conf("u:r:" + std::string(4091, 't')).c_str()).has_value());
  CHECK(refusal(conf("u:r:" + std::string(4092, 't')).c_str()) ==
        "\"selinuxContext\": 4096 bytes are no label: it has 4095 at most");
}

TEST_CASE("tap config: a wrong argument names itself") {
  const auto bad = [](const char* key, const char* value) {
    return refusal("{}", {{key, value}}, Kind::kInvalidEnvironment).find(key) != std::string::npos;
  };
  for (const char* name : {"a/b", "sixteen-letters-", "tap%d", ".."}) CHECK(bad("TC_REDIRECT_TAP_NAME", name));
  for (const char* id : {"root", "-1", "4294967295", "1 "}) CHECK(bad("TC_REDIRECT_TAP_UID", id));
  CHECK(bad("TC_REDIRECT_TAP_GID", "1x"));
}

TEST_CASE("tap config: keys of a plain TAP are refused behind another plugin, empty ones are not") {
  for (const char* json :
       {R"({"bridge": "br0"})", R"({"mac": "02:00:5e:00:53:01"})", R"({"ipam": {"type": "host-local"}})"}) {
    CAPTURE(json);
    const Result<void> refused = tap::refuse_plain_keys(parse(json).value(), conf_of(json));
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().kind == Kind::kUnsupportedField);
  }
  const char* empty = R"({"bridge": "", "mac": "", "selinuxContext": "", "ipam": {}})";
  CHECK(tap::refuse_plain_keys(parse(empty).value(), conf_of(empty)).has_value());
}
