#include "plugins/bridge/config.h"

#include <doctest/doctest.h>

using namespace slicer;
using bridge::Config;
using bridge::Device;
using cni::Json;

namespace {

Result<Config> parse(const char* json, const std::map<std::string, std::string>& args = {}) {
  cni::NetConf conf{.raw = Json::parse(json), .name = "demo", .type = "slicer-bridge"};
  if (conf.raw.contains("ipam")) conf.ipam_type = conf.raw["ipam"].value("type", "");
  return bridge::parse_config(conf, {.args = args});
}

struct Refusal {
  Kind kind = Kind::kInternal;
  std::string message = {};
};

Refusal refusal(const char* json, const std::map<std::string, std::string>& args = {}) {
  const Result<Config> config = parse(json, args);
  REQUIRE_FALSE(config.has_value());
  return {config.error().kind, config.error().message};
}

bool names(const char* json, const char* text) {
  const Refusal got = refusal(json);
  INFO("message: ", got.message);
  CHECK(got.kind == Kind::kInvalidConfig);
  return got.message.find(text) != std::string::npos;
}

}  // namespace

TEST_CASE("bridge config: the defaults are upstream's, but a VM is checked for spoofing") {
  const Result<Config> config = parse("{}");
  REQUIRE(config.has_value());
  CHECK(config->bridge == "cni0");
  CHECK(config->device == Device::kTap);
  CHECK_FALSE(config->is_gateway);
  CHECK_FALSE(config->ip_masq);
  CHECK(config->mtu_bytes == 0);
  CHECK(config->guard_mac);
  CHECK(config->guard_ip);
  CHECK_FALSE(config->keeps_default_vlan());
  CHECK(config->owner.user == 0);
  CHECK_FALSE(config->owner.group.has_value());
  CHECK_FALSE(config->uses_vlans());
}

TEST_CASE("bridge config: every key is read") {
  const Result<Config> config = parse(R"({"bridge": "slicer0", "isDefaultGateway": true, "forceAddress": true,
    "ipMasq": true, "ipMasqBackend": "nftables", "mtu": 9000, "hairpinMode": true, "portIsolation": true,
    "enabledad": true, "ipspoofchk": false, "owner": 64055, "group": 108, "dns": {"nameservers": ["192.0.2.53"]},
    "vlan": 10, "preserveDefaultVlan": false, "runtimeConfig": {"mac": "02:00:5e:00:53:01"}})");
  REQUIRE(config.has_value());
  CHECK(config->bridge == "slicer0");
  CHECK(config->default_gateway);
  CHECK(config->is_gateway);
  CHECK(config->force_address);
  CHECK(config->ip_masq);
  CHECK(config->masq_backend == "nftables");
  CHECK(config->mtu_bytes == 9000);
  CHECK(config->hairpin);
  CHECK(config->port_isolation);
  CHECK(config->detect_duplicates);
  CHECK(config->guard_mac);
  CHECK_FALSE(config->guard_ip);
  CHECK(config->owner.user == 64055);
  CHECK(config->owner.group == 108);
  CHECK(config->dns.nameservers == std::vector<std::string>{"192.0.2.53"});
  CHECK(config->vlan == 10);
  CHECK_FALSE(config->keeps_default_vlan());
  REQUIRE(config->mac.has_value());
  CHECK(config->mac->text() == "02:00:5e:00:53:01");
}

TEST_CASE("bridge config: a container is checked only on demand, as upstream has it") {
  CHECK_FALSE(parse(R"({"device": "veth"})")->guard_mac);
  CHECK_FALSE(parse(R"({"device": "veth"})")->guard_ip);
  CHECK(parse(R"({"device": "veth", "macspoofchk": true})")->guard_ip);
  CHECK_FALSE(parse(R"({"macspoofchk": false})")->guard_ip);
}

TEST_CASE("bridge config: where the chain says bridge, it wants a container's interface") {
  cni::NetConf conf{.raw = Json::object(), .name = "demo", .type = "bridge"};
  CHECK(bridge::parse_config(conf, {})->device == Device::kVeth);
  CHECK_FALSE(bridge::parse_config(conf, {})->guard_mac);
  conf.raw = {{"device", "tap"}};
  CHECK(bridge::parse_config(conf, {})->device == Device::kTap);
}

TEST_CASE("bridge config: the call's owner goes before the configuration's") {
  const Result<Config> config =
      parse(R"({"owner": 1, "group": 2})", {{"TC_REDIRECT_TAP_UID", "1000"}, {"TC_REDIRECT_TAP_GID", "1001"}});
  REQUIRE(config.has_value());
  CHECK(config->owner.user == 1000);
  CHECK(config->owner.group == 1001);
  for (const char* bad : {"root", "-1", "1x", "4294967295", "99999999999"}) {
    const Refusal got = refusal("{}", {{"TC_REDIRECT_TAP_UID", bad}});
    CHECK(got.kind == Kind::kInvalidEnvironment);
    CHECK(got.message.find(bad) != std::string::npos);
  }
}

TEST_CASE("bridge config: the VLAN of untagged frames is upstream's") {
  struct Row {
    const char* conf;
    unsigned native;
    bool keeps;
  };
  for (const Row& row :
       {Row{R"({"vlan": 10})", 10, false}, Row{R"({"vlan": 10, "preserveDefaultVlan": true})", 10, true},
        Row{R"({"vlanTrunk": [{"id": 10}]})", 1, false}, Row{R"({"vlan": 5, "vlanTrunk": [{"id": 10}]})", 5, false},
        Row{R"({"vlanTrunk": [{"id": 10}], "preserveDefaultVlan": true})", 1, true},
        Row{R"({"vlanTrunk": [{"id": 10}], "preserveDefaultVlan": false})", 0, false}}) {
    INFO(row.conf);
    const Result<Config> config = parse(row.conf);
    REQUIRE(config.has_value());
    CHECK(config->native_vlan() == row.native);
    CHECK(config->keeps_default_vlan() == row.keeps);
  }
}

TEST_CASE("bridge config: trunks are sorted and joined") {
  const Result<Config> config =
      parse(R"({"vlanTrunk": [{"minID": 20, "maxID": 29}, {"id": 5}, {"minID": 25, "maxID": 40, "id": 100}]})");
  REQUIRE(config.has_value());
  CHECK(config->trunk == std::vector<bridge::VlanRange>{{5, 5}, {20, 40}, {100, 100}});
  CHECK(config->uses_vlans());
  CHECK_FALSE(config->guard_mac);
}

TEST_CASE("bridge config: a wrong value names its key") {
  CHECK(names(R"({"bridge": "a-name-of-16-byt"})", "\"bridge\": 'a-name-of-16-byt'"));
  CHECK(names(R"({"bridge": "sls0"})", "\"bridge\": 'sls0'"));
  CHECK(names(R"({"bridge": "all"})", "\"bridge\": 'all'"));
  CHECK(names(R"({"bridge": "a/b"})", "\"bridge\": 'a/b'"));
  CHECK(names(R"({"bridge": 5})", "\"bridge\""));
  CHECK(names(R"({"device": "bridge"})", "\"device\": 'bridge'"));
  CHECK(names(R"({"mtu": 67})", "\"mtu\": 67"));
  CHECK(names(R"({"mtu": 65536})", "\"mtu\": 65536"));
  CHECK(names(R"({"mtu": -1})", "\"mtu\": -1"));
  CHECK(names(R"({"mtu": "big"})", "\"mtu\""));
  CHECK(names(R"({"isGateway": "yes"})", "\"isGateway\""));
  CHECK(names(R"({"vlan": 4095})", "\"vlan\": 4095"));
  CHECK(names(R"({"vlan": -1})", "\"vlan\": -1"));
  CHECK(names(R"({"bridge": "twelve-bytes", "vlan": 100, "isGateway": true})", "\"bridge\": 'twelve-bytes'"));
  CHECK(names(R"({"vlanTrunk": [{"minID": 5}]})", "\"vlanTrunk\""));
  CHECK(names(R"({"vlanTrunk": [{}]})", "{} names no VLAN"));
  CHECK(names(R"({"vlanTrunk": [{"minID": 9, "maxID": 5}]})", "\"minID\" 9"));
  CHECK(names(R"({"vlanTrunk": [{"id": 0}]})", "\"id\": 0"));
  CHECK(names(R"({"vlanTrunk": ["5"]})", "\"vlanTrunk\""));
  CHECK(names(R"({"vlanTrunk": [{"id": 6}], "macspoofchk": true})", "\"macspoofchk\""));
  CHECK(names(R"({"owner": -1})", "\"owner\""));
  CHECK(names(R"({"owner": "qemu"})", "\"owner\""));
  CHECK(names(R"({"group": 4294967295})", "\"group\""));
  CHECK(names(R"({"ipMasqBackend": "ipfw"})", "\"ipMasqBackend\""));
  CHECK(names(R"({"dns": {"nameservers": "192.0.2.53"}})", "nameservers"));
  CHECK(names(R"({"runtimeConfig": {"mac": "01:00:5e:00:00:01"}})", "mac"));
  CHECK(names(R"({"macspoofchk": false, "ipspoofchk": true})", "\"ipspoofchk\""));
  CHECK(names(R"({"hairpinMode": true, "promiscMode": true})", "\"promiscMode\""));
  CHECK(names(R"({"disableContainerInterface": true})", "\"device\""));
  CHECK(names(R"({"device": "veth", "disableContainerInterface": true, "ipam": {"type": "slicer-ipam"}})", "\"ipam\""));
}

TEST_CASE("bridge config: unknown keys are ignored") { CHECK(parse(R"({"colour": "blue"})").has_value()); }

TEST_CASE("bridge config: a nameserver that is no address") {
  CHECK(names(R"({"dns": {"nameservers": ["192.0.2.53", "x"]}})", "\"dns\": \"nameservers\": "));
  CHECK(names(R"({"dns": {"nameservers": ["192.0.2.53", "x"]}})", "'x'"));
  CHECK(parse(R"({"dns": {"nameservers": ["192.0.2.53", "2001:db8::53"]}})").has_value());
}
