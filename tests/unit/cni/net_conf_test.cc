#include "lib/cni/net_conf.h"

#include <doctest/doctest.h>

#include "lib/cni/result_versions.h"

namespace slicer::cni {
namespace {

std::string with(const std::string& keys) {
  return R"({"cniVersion": "1.1.0", "name": "net", "type": "slicer-bridge")" + keys + "}";
}

Error error_of(const std::string& text) {
  const Result<NetConf> conf = parse_net_conf(text);
  return conf ? Error{.message = "no error"} : conf.error();
}

}  // namespace

TEST_CASE("parse_net_conf: the keys that every plugin has, and the whole document") {
  const NetConf conf =
      parse_net_conf(with(R"(, "bridge": "br0", "ipam": {"type": "host-local", "subnet": "x"})")).value();
  CHECK(conf.cni_version == "1.1.0");
  CHECK(conf.name == "net");
  CHECK(conf.type == "slicer-bridge");
  CHECK(conf.ipam_type == "host-local");
  CHECK(conf.raw.at("bridge") == "br0");
  CHECK(!conf.prev_result);
  CHECK(!conf.valid_attachments);
}

TEST_CASE("parse_net_conf: without cniVersion it is 0.1.0") {
  for (const char* text :
       {R"({"name": "n"})", R"({"name": "n", "cniVersion": ""})", R"({"name": "n", "cniVersion": null})"})
    CHECK(parse_net_conf(text).value().cni_version == "0.1.0");
}

TEST_CASE("parse_net_conf: null and empty ipam sections are none") {
  for (const char* keys : {"", R"(, "ipam": null)", R"(, "ipam": {})", R"(, "ipam": {"type": null})"})
    CHECK(parse_net_conf(with(keys)).value().ipam_type.empty());
}

TEST_CASE("parse_net_conf: prevResult in every version") {
  const CniResult result{.ips = {{.address = addr::parse_cidr("192.0.2.7/24").value()}}};
  for (const std::string_view version : supported_versions()) {
    CAPTURE(version);
    const std::string prev = dump_json(result_json(result, version).value());
    const NetConf conf = parse_net_conf(with(R"(, "prevResult": )" + prev)).value();
    REQUIRE(conf.prev_result);
    CHECK(*conf.prev_result == result);
  }
}

TEST_CASE("parse_net_conf: a prevResult without version has the configuration's") {
  const NetConf conf = parse_net_conf(with(R"(, "prevResult": {"ips": [{"address": "192.0.2.7/24"}]})")).value();
  CHECK(conf.prev_result->ips.size() == 1);
  CHECK(!parse_net_conf(with(R"(, "prevResult": null)")).value().prev_result);
}

TEST_CASE("parse_net_conf: both names of the list of valid attachments") {
  const std::string list = R"([{"containerID": "vm1", "ifname": "eth0"}])";
  const std::vector<ValidAttachment> expected{{"vm1", "eth0"}};
  CHECK(parse_net_conf(with(R"(, "cni.dev/valid-attachments": )" + list)).value().valid_attachments == expected);
  CHECK(parse_net_conf(with(R"(, "cni.dev/attachments": )" + list)).value().valid_attachments == expected);
  CHECK(parse_net_conf(with(R"(, "cni.dev/attachments": [], "cni.dev/valid-attachments": )" + list))
            .value()
            .valid_attachments == expected);
}

TEST_CASE("parse_net_conf: an empty list of valid attachments is a list, an absent or null one is none") {
  CHECK(parse_net_conf(with(R"(, "cni.dev/valid-attachments": [])")).value().valid_attachments->empty());
  CHECK(!parse_net_conf(with(R"(, "cni.dev/valid-attachments": null)")).value().valid_attachments);
}

TEST_CASE("parse_net_conf: wrong values have their code and are named") {
  const struct {
    std::string text;
    Kind kind;
    const char* named;
  } cases[] = {
      {"", Kind::kDecode, "parse JSON"},
      {R"({"name": "net")", Kind::kDecode, "parse JSON"},
      {"{\"name\": \"\xff\"}", Kind::kDecode, "parse JSON"},
      {std::string(100000, '['), Kind::kDecode, "deeper"},
      {"[]", Kind::kDecode, "object"},
      {"null", Kind::kDecode, "object"},
      {R"("net")", Kind::kDecode, "object"},
      {"{}", Kind::kInvalidConfig, "\"name\""},
      {R"({"name": ""})", Kind::kInvalidConfig, "\"name\""},
      {R"({"name": 5})", Kind::kInvalidConfig, "\"name\""},
      {R"({"name": "a/b"})", Kind::kInvalidConfig, "\"name\""},
      {R"({"name": "../x"})", Kind::kInvalidConfig, "\"name\""},
      {R"({"name": "n\u0000"})", Kind::kInvalidConfig, "\"name\""},
      {R"({"name": "n", "cniVersion": 1})", Kind::kInvalidConfig, "\"cniVersion\""},
      {R"({"name": "n", "cniVersion": {}})", Kind::kInvalidConfig, "\"cniVersion\""},
      {R"({"name": "n", "cniVersion": "1.2.0"})", Kind::kUnsupportedVersion, "1.2.0"},
      {R"({"name": "n", "cniVersion": "0.3"})", Kind::kUnsupportedVersion, "0.3"},
      {R"({"name": "n", "type": []})", Kind::kInvalidConfig, "\"type\""},
      {with(R"(, "ipam": [])"), Kind::kInvalidConfig, "\"ipam\""},
      {with(R"(, "ipam": {"type": 1})"), Kind::kInvalidConfig, "\"ipam\": \"type\""},
      {with(R"(, "prevResult": [])"), Kind::kDecode, "\"prevResult\""},
      {with(R"(, "prevResult": "x")"), Kind::kDecode, "\"prevResult\""},
      {with(R"(, "prevResult": {"ips": 5})"), Kind::kDecode, "\"prevResult\""},
      {with(R"(, "prevResult": {"cniVersion": "9.0.0"})"), Kind::kUnsupportedVersion, "\"prevResult\""},
      {with(R"(, "cni.dev/valid-attachments": {})"), Kind::kInvalidConfig, "\"cni.dev/valid-attachments\""},
      {with(R"(, "cni.dev/valid-attachments": ["vm1"])"), Kind::kInvalidConfig, "\"cni.dev/valid-attachments\"[0]"},
      {with(R"(, "cni.dev/valid-attachments": [{"containerID": 5, "ifname": "a"}])"), Kind::kInvalidConfig, "[0]"},
      {with(R"(, "cni.dev/valid-attachments": [{"containerID": "vm1"}])"), Kind::kInvalidConfig, "\"ifname\""},
      {with(R"(, "cni.dev/attachments": 5)"), Kind::kInvalidConfig, "\"cni.dev/attachments\""},
  };
  for (const auto& test : cases) {
    const std::string beginning = test.text.substr(0, 200);
    CAPTURE(beginning);
    const Error error = error_of(test.text);
    CHECK(error.kind == test.kind);
    CHECK(error.message.find(test.named) != std::string::npos);
  }
}

TEST_CASE("read_net_conf: an unreadable prevResult stops ADD, CHECK and STATUS, not DEL and GC") {
  const Json json = parse_json(with(R"(, "prevResult": {"cniVersion": "9.0.0"})")).value();
  for (const Command command : {Command::kAdd, Command::kCheck, Command::kStatus})
    CHECK(!read_net_conf(json, command).has_value());
  for (const Command command : {Command::kDel, Command::kGc}) {
    const Result<NetConf> conf = read_net_conf(json, command);
    REQUIRE(conf.has_value());
    CHECK(!conf->prev_result);
  }
}

}  // namespace slicer::cni
