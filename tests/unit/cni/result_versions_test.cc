#include "lib/cni/result_versions.h"

#include <doctest/doctest.h>

namespace slicer::cni {
namespace {

const char* const kVmResult = R"({
  "cniVersion": "1.1.0",
  "interfaces": [
    {"name": "slicer0", "mac": "02:00:00:00:00:01", "mtu": 1500},
    {"name": "vmtap0", "mac": "02:00:00:00:00:02", "mtu": 1500, "sandbox": "/run/netns/x", "socketPath": "/s", "pciID": "0000:00:1f.6"},
    {"name": "vmtap0", "mac": "02:00:00:00:00:03", "sandbox": "vm1"}],
  "ips": [
    {"address": "192.0.2.7/24", "gateway": "192.0.2.1", "interface": 2},
    {"address": "2001:db8::7/64", "gateway": "2001:db8::1", "interface": 2},
    {"address": "198.51.100.7/24"}],
  "routes": [
    {"dst": "0.0.0.0/0", "gw": "192.0.2.1", "mtu": 1400, "advmss": 1360, "priority": 10, "table": 0, "scope": 253},
    {"dst": "203.0.113.0/24"},
    {"dst": "::/0"}],
  "dns": {"nameservers": ["192.0.2.53"], "domain": "example.org", "search": ["example.org"], "options": ["ndots:1"]}
})";

CniResult parsed(const std::string& text) { return parse_result(parse_json(text).value()).value(); }

Error error_of(const std::string& text) {
  const Result<CniResult> result = parse_result(parse_json(text).value());
  return result ? Error{.message = "no error"} : result.error();
}

// What is left of a result when `version` has carried it.
CniResult carried_by(CniResult result, std::string_view version) {
  if (!version_at_least(version, "1.1.0")) {
    for (Interface& interface : result.interfaces) interface.mtu = 0, interface.socket_path = interface.pci_id = "";
    for (Route& route : result.routes) route = {.dst = route.dst, .gw = route.gw};
  }
  if (!version_at_least(version, "0.3.0")) {
    result.interfaces.clear();
    result.ips.pop_back();  // the second IPv4 address
    for (IpConfig& ip : result.ips) ip.interface.reset();
  }
  return result;
}

}  // namespace

TEST_CASE("result_json: every version carries what it can, and reads it back") {
  const CniResult whole = parsed(kVmResult);
  for (const std::string_view version : supported_versions()) {
    CAPTURE(version);
    const Json json = result_json(whole, version).value();
    CHECK(json.at("cniVersion") == version);
    CHECK(parse_result(json).value() == carried_by(whole, version));
  }
}

TEST_CASE("result_json: 1.1.0 writes what was read") {
  CHECK(result_json(parsed(kVmResult), "1.1.0").value() == parse_json(kVmResult).value());
}

TEST_CASE("result_json: ips[].version is text, and only 0.3.0 to 0.4.0 have it") {
  for (const std::string_view version : {"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}) {
    CAPTURE(version);
    const Json ips = result_json(parsed(kVmResult), version).value().at("ips");
    const bool expected = !version_at_least(version, "1.0.0");
    CHECK(ips[0].contains("version") == expected);
    if (expected) CHECK(ips[0].at("version") == "4");
    if (expected) CHECK(ips[1].at("version") == "6");
  }
}

TEST_CASE("result_json: 0.1.0 and 0.2.0 have one address of each family with its routes") {
  for (const std::string_view version : {"0.1.0", "0.2.0"}) {
    const Json json = result_json(parsed(kVmResult), version).value();
    CHECK(json.at("ip4") == parse_json(R"({"ip": "192.0.2.7/24", "gateway": "192.0.2.1",
        "routes": [{"dst": "0.0.0.0/0", "gw": "192.0.2.1"}, {"dst": "203.0.113.0/24"}]})")
                                .value());
    CHECK(json.at("ip6") == parse_json(R"({"ip": "2001:db8::7/64", "gateway": "2001:db8::1",
        "routes": [{"dst": "::/0"}]})")
                                .value());
    CHECK(!json.contains("ips"));
    CHECK(!json.contains("interfaces"));
    CHECK(!json.contains("routes"));
  }
}

TEST_CASE("result_json: an empty result has its version alone") {
  for (const std::string_view version : supported_versions())
    CHECK(result_json({}, version).value() == Json{{"cniVersion", version}});
  CHECK(result_json({}, "9.9.9").error().kind == Kind::kUnsupportedVersion);
}

TEST_CASE("result_json: table and scope 0 differ from absent ones") {
  const Json routes = result_json(parsed(R"({"cniVersion": "1.1.0", "routes": [
      {"dst": "192.0.2.0/24", "table": 0, "scope": 0, "mtu": 0}, {"dst": "192.0.2.0/24"}]})"),
                                  "1.1.0")
                          .value()
                          .at("routes");
  CHECK(routes[0] == Json{{"dst", "192.0.2.0/24"}, {"table", 0}, {"scope", 0}});
  CHECK(routes[1] == Json{{"dst", "192.0.2.0/24"}});
}

TEST_CASE("parse_result: Go's empty addresses and nulls are absent") {
  const CniResult result = parsed(R"({"cniVersion": "1.0.0", "interfaces": null, "dns": {},
      "ips": [{"address": "192.0.2.7/24", "gateway": "", "interface": null}], "routes": [{"dst": "::/0", "gw": ""}]})");
  CHECK(!result.ips.at(0).gateway);
  CHECK(!result.ips.at(0).interface);
  CHECK(!result.routes.at(0).gw);
}

TEST_CASE("parse_result: without cniVersion it is 0.1.0's, or what the caller says") {
  const Json json = parse_json(R"({"ip4": {"ip": "192.0.2.7/24"}, "ips": [{"address": "192.0.2.8/24"}]})").value();
  CHECK(parse_result(json).value().ips.at(0).address.text() == "192.0.2.7/24");
  CHECK(parse_result(json, "1.0.0").value().ips.at(0).address.text() == "192.0.2.8/24");
  Json empty = json;
  empty["cniVersion"] = "";
  CHECK(parse_result(empty).value().ips.at(0).address.text() == "192.0.2.7/24");
}

TEST_CASE("parse_result: keys that nobody knows are ignored") {
  CHECK(parsed(R"({"cniVersion": "1.0.0", "x": [1], "ips": [{"address": "192.0.2.7/24", "version": 4, "y": 1}]})")
            .ips.size() == 1);
}

TEST_CASE("parse_result: a wrong field is kDecode and named") {
  const struct {
    const char* keys;
    const char* named;
  } cases[] = {
      {R"("interfaces": {})", "\"interfaces\""},
      {R"("interfaces": [1])", "\"interfaces\"[0]"},
      {R"("interfaces": [{}, {"mac": 5}])", "\"interfaces\"[1]: \"mac\""},
      {R"("interfaces": [{"mtu": -1}])", "\"mtu\": -1"},
      {R"("interfaces": [{"mtu": 1e3}])", "\"mtu\""},
      {R"("interfaces": [{"mtu": 99999999999999999999}])", "\"mtu\""},
      {R"("interfaces": [{"sandbox": ["x"]}])", "\"sandbox\""},
      {R"("ips": "x")", "\"ips\""},
      {R"("ips": [{}])", "\"ips\"[0]: \"address\""},
      {R"("ips": [{"address": "192.0.2.7"}])", "192.0.2.7"},
      {R"("ips": [{"address": "192.0.2.7/33"}])", "192.0.2.7/33"},
      {R"("ips": [{"address": "192.0.2.7/24", "gateway": "x"}])", "\"gateway\""},
      {R"("ips": [{"address": "192.0.2.7/24", "interface": 0}])", "\"interface\""},
      {R"("interfaces": [{"name": "a"}], "ips": [{"address": "192.0.2.7/24", "interface": 1}])", "\"interface\": 1"},
      {R"("interfaces": [{"name": "a"}], "ips": [{"address": "192.0.2.7/24", "interface": -1}])", "\"interface\": -1"},
      {R"("routes": [{}])", "\"dst\""},
      {R"("routes": [{"dst": 5}])", "\"routes\"[0]: \"dst\""},
      {R"("routes": [{"dst": "0.0.0.0/0", "gw": "nowhere"}])", "\"gw\""},
      {R"("routes": [{"dst": "0.0.0.0/0", "scope": 256}])", "\"scope\": 256"},
      {R"("dns": [])", "\"dns\""},
      {R"("dns": {"nameservers": "192.0.2.53"})", "\"nameservers\""},
      {R"("dns": {"search": [null]})", "\"search\"[0]"},
  };
  for (const auto& test : cases) {
    const std::string keys = test.keys;
    CAPTURE(keys);
    const Error error = error_of(R"({"cniVersion": "1.1.0", )" + std::string(test.keys) + "}");
    CHECK(error.kind == Kind::kDecode);
    CHECK(error.message.starts_with("read result: "));
    CAPTURE(error.message);
    CHECK(error.message.find(test.named) != std::string::npos);
  }
}

TEST_CASE("parse_result: the old shape is read as strictly") {
  for (const char* keys : {R"("ip4": 5)", R"("ip4": {"gateway": "192.0.2.1"})", R"("ip4": {"ip": "x"})",
                           R"("ip6": {"ip": "2001:db8::7/64", "routes": {}})", R"("ip4": {"ip": "2001:db8::7/64"})",
                           R"("ip6": {"ip": "192.0.2.7/24"})"}) {
    CAPTURE(keys);
    CHECK(error_of(R"({"cniVersion": "0.2.0", )" + std::string(keys) + "}").kind == Kind::kDecode);
  }
}

TEST_CASE("parse_result: what is no result") {
  for (const char* text : {"[]", "null", "5", R"("x")", R"({"cniVersion": 1})"}) {
    CAPTURE(text);
    CHECK(error_of(text).kind == Kind::kDecode);
  }
  for (const char* version : {"0.0.1", "1.2.0", "2.0.0", "1.0", "1.0.0 ", "x"}) {
    CAPTURE(version);
    CHECK(error_of(R"({"cniVersion": ")" + std::string(version) + "\"}").kind == Kind::kUnsupportedVersion);
  }
}

TEST_CASE("version_at_least: in the order of their releases") {
  CHECK(version_at_least("0.4.0", "0.4.0"));
  CHECK(version_at_least("1.0.0", "0.4.0"));
  CHECK(!version_at_least("0.3.1", "0.4.0"));
  CHECK(is_supported("0.3.1"));
  CHECK(!is_supported(""));
  CHECK(check_version("7").error().hint.find("0.1.0, 0.2.0") != std::string::npos);
}

TEST_CASE("find_guest_interface: the pair of one name with the container ID as sandbox") {
  const CniResult result = parsed(kVmResult);
  const auto pair = find_guest_interface(result, "vm1");
  REQUIRE(pair);
  CHECK(pair->tap == 1);
  CHECK(pair->guest == 2);
  CHECK(!find_guest_interface(result, "vm2"));
  CHECK(!find_guest_interface(result, ""));
  CniResult container = result;
  container.interfaces.pop_back();
  CHECK(!find_guest_interface(container, "vm1"));
  CniResult host_end = result;  // an entry on the host is no TAP of the pair
  host_end.interfaces[1].sandbox = "";
  CHECK(!find_guest_interface(host_end, "vm1"));
}

TEST_CASE("dns_json, parse_dns: each other's inverse, empty lists left out") {
  const Dns dns{.nameservers = {"192.0.2.53"}, .search = {"example.org"}};
  CHECK(dns_json(dns) == Json{{"nameservers", {"192.0.2.53"}}, {"search", {"example.org"}}});
  CHECK(parse_dns(dns_json(dns)).value() == dns);
  CHECK(dns_json({}) == Json::object());
}

}  // namespace slicer::cni
