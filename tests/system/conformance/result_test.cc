// Section 5: result types.
#include <set>

#include "tests/system/conformance/requirement.h"

namespace slicer::test::conformance {
namespace {

bool has_pool(const Subject& subject) { return !chained(subject); }
bool is_main(const Subject& subject) { return makes_interface(subject); }
bool is_ipam(const Subject& subject) { return std::string(subject.name) == "slicer-ipam"; }

/// The keys of a result or of a part of it that `allowed` lacks.
std::string strange_keys(const Json& object, const std::set<std::string>& allowed) {
  std::string strange;
  for (const auto& [key, value] : object.items())
    if (!allowed.contains(key)) strange += key + " ";
  return strange;
}

std::string family_of(const Json& ip) { return ip.value("address", "").find(':') == std::string::npos ? "4" : "6"; }

/// 0.1.0 and 0.2.0: ip4 and ip6.
void expect_old_shape(Verdict& verdict, const Json& result) {
  const std::string strange = strange_keys(result, {"cniVersion", "ip4", "ip6", "dns"});
  verdict.expect(strange.empty(), "keys of another version: " + strange);
  verdict.require(result.contains("ip4"), "no ip4 in " + result.dump());
  verdict.expect(result["ip4"].value("ip", "").find('/') != std::string::npos, "ip4.ip is no CIDR");
}

void expect_new_shape(Verdict& verdict, const std::string& version, const Json& result) {
  const std::string strange = strange_keys(result, {"cniVersion", "interfaces", "ips", "routes", "dns"});
  verdict.expect(strange.empty(), version + ": keys of another version: " + strange);
  verdict.require(result.contains("ips") && !result["ips"].empty(), version + ": no ips in " + result.dump());
  for (const Json& ip : result["ips"]) {
    const std::string told = ip.value("version", "");
    verdict.expect(told == (since(version, "1.0.0") ? "" : family_of(ip)),
                   version + ": ips[].version is '" + told + "'");
  }
  std::set<std::string> allowed = {"name", "mac", "sandbox"};
  if (since(version, "1.1.0")) allowed.insert({"mtu", "socketPath", "pciID"});
  for (const Json& each : result.value("interfaces", Json::array()))
    verdict.expect(strange_keys(each, allowed).empty(), version + ": keys of another version in " + each.dump());
}

void expect_shape(Verdict& verdict, const std::string& version, const Json& result) {
  verdict.expect(result.value("cniVersion", "") == version, version + ": cniVersion is " + result.dump());
  if (since(version, "0.3.0"))
    expect_new_shape(verdict, version, result);
  else
    expect_old_shape(verdict, result);
}

/// What a result says in every version since 0.3.0.
Json common_part(Json result) {
  result.erase("cniVersion");
  for (Json& ip : result["ips"]) ip.erase("version");
  for (Json& each : result["interfaces"]) each.erase("mtu");
  return result;
}

/// The interface of a namespace, as the kernel has it.
Json link_of(const std::string& name, const std::string& netns) {
  const Outcome shown = run({"ip", "-j", "link", "show", "dev", name}, {.netns = netns});
  const Json list = Json::parse(shown.out, nullptr, false);
  return shown.ok() && list.is_array() && !list.empty() ? list[0] : Json();
}

}  // namespace

CONFORMANCE(result_version, "5 ADD Success", "MUST",
            "the result has the version and the shape of the configuration: all seven", has_pool,
            {.broken_by = {R"(in:/cniVersion="1.1.0")", R"(in:/cniVersion="0.2.0")", "out:/cniVersion"}}) {
  for (const char* version : kVersions) {
    const std::string id = std::string("vm-") + version;
    const Json result = stage.add(verdict, version, id);
    expect_shape(verdict, version, result);
    const Answer answer = stage.run(stage.conf_with(result, version, id), stage.call("DEL", id));
    verdict.expect(answer.ok(), std::string("DEL of version ") + version + " failed", answer);
    verdict.expect(!Stage::has_lease(id), std::string("DEL of version ") + version + " leaves the address");
  }
}

CONFORMANCE(result_converted, "5 ADD Success", "MUST",
            "a prevResult of any version comes out in the configuration's, saying the same: every pair since 0.3.0",
            chained,
            {.broken_by = {R"(in:/cniVersion="1.1.0")", "out:/routes", "out:/interfaces/2/sandbox",
                           R"(out:/ips/0/address="192.0.2.99/24")"}}) {
  for (const char* from : kVersions) {
    if (!since(from, "0.3.0")) continue;
    const std::string id = std::string("vm-") + from;
    const Json prev = stage.conf(from, id)["prevResult"];
    expect_shape(verdict, from, prev);
    for (const char* to : kVersions) {
      if (!since(to, "0.3.0")) continue;
      const Json conf = with(stage.bare_conf(to), "prevResult", prev);
      const Answer answer = stage.run(conf, stage.call("ADD", id));
      verdict.require(answer.ok(), std::string(from) + " to " + to + ": ADD failed", answer);
      expect_shape(verdict, to, answer.json);
      verdict.expect(common_part(stage.passed_on(answer.json, prev)) == common_part(prev),
                     std::string(from) + " to " + to + ": " + prev.dump() + " became " + answer.json.dump());
      const Answer deleted = stage.run(conf, stage.call("DEL", id));
      verdict.expect(deleted.ok(), std::string(from) + " to " + to + ": DEL failed", deleted);
    }
  }
}

CONFORMANCE(result_other_version, "5 ADD Success", "is",
            "CHECK and DEL read a prevResult of another version than the configuration's", has_pool,
            {.broken_by = {"fail=CHECK", "fail=DEL"}}) {
  for (const char* from : kVersions) {
    const std::string id = std::string("vm-") + from;
    const Json prev = stage.add(verdict, from, id);
    for (const char* to : {"0.4.0", "1.0.0", "1.1.0"}) {
      if (!since(from, "0.3.0")) continue;  // no interfaces to check
      const Answer answer = stage.run(with(stage.bare_conf(to), "prevResult", prev), stage.call("CHECK", id));
      verdict.expect(answer.ok(), std::string(from) + " read as " + to + ": CHECK failed", answer);
    }
    const Answer answer = stage.run(with(stage.bare_conf(), "prevResult", prev), stage.call("DEL", id));
    verdict.expect(answer.ok(), std::string(from) + ": DEL failed", answer);
    verdict.expect(!Stage::has_lease(id), std::string(from) + ": DEL leaves the address");
  }
}

CONFORMANCE(result_interfaces, "5 ADD Success", "MUST",
            "interfaces lists all that the attachment made, with name, MAC, MTU and sandbox as the kernel has them",
            is_main,
            {.broken_by = {"out:/interfaces", R"(out:/interfaces/0/mac="02:00:5e:00:53:99")",
                           R"(out:/interfaces/0/name="nobody")", "out:/interfaces/0/mtu=99"}}) {
  const Json result = stage.add(verdict);
  verdict.require(result.contains("interfaces"), "no interfaces");
  bool found = false;
  for (const Json& each : result["interfaces"]) {
    const std::string sandbox = each.value("sandbox", "");
    if (sandbox == "vm-1") continue;  // the guest's own, which the kernel does not see (docs/contract.md)
    const Json link = link_of(each.value("name", ""), sandbox.empty() ? Host::netns() : sandbox);
    verdict.require(!link.is_null(), "no such link: " + each.dump());
    verdict.expect(link["address"] == each.value("mac", ""), "another MAC: " + each.dump());
    verdict.expect(link["mtu"] == each.value("mtu", 0), "another MTU: " + each.dump());
    found = found || (each["name"] == "tap0" && sandbox == stage.box().path());
  }
  verdict.expect(found, "no tap0 whose sandbox is CNI_NETNS: " + result.dump());
}

CONFORMANCE(result_ips, "5 ADD Success", "MUST",
            "ips: the address in CIDR notation, its gateway, the index of its interface", is_main,
            {.broken_by = {"out:/ips/0/interface=77", R"(out:/ips/0/address="192.0.2.2")", "out:/ips/0/gateway",
                           "out:/ips"}}) {
  const Json result = stage.add(verdict);
  verdict.require(result.contains("ips") && result["ips"].size() == 1, "no address");
  const Json& ip = result["ips"][0];
  verdict.expect(ip.value("address", "").find('/') != std::string::npos, "no CIDR: " + ip.dump());
  verdict.expect(!ip.value("gateway", "").empty(), "no gateway: " + ip.dump());
  verdict.require(ip.contains("interface"), "no interface: " + ip.dump());
  verdict.require(ip["interface"] < result["interfaces"].size(), "no such interface: " + ip.dump());
  verdict.expect(result["interfaces"][ip["interface"].get<size_t>()]["name"] == "tap0", "not tap0's: " + ip.dump());
}

CONFORMANCE(result_routes, "5 ADD Success", "is",
            "routes with mtu, advmss, priority, table and scope since 1.1.0, without them before: 0 is not absent",
            has_pool,
            {.broken_by = {"out:/routes/0/table", "out:/routes/0/mtu", "out:/routes/0/advmss", "out:/routes/0/priority",
                           "out:/routes/0/scope", R"(in:/cniVersion="1.0.0")"}}) {
  const Json route = {{"dst", "203.0.113.0/24"}, {"mtu", 1400},   {"advmss", 1360},
                      {"priority", 7},           {"table", 1234}, {"scope", 0}};
  for (const char* version : {"1.0.0", "1.1.0"}) {
    const std::string id = std::string("vm-") + version;
    const Json conf = with(stage.bare_conf(version), "/ipam/routes", Json::array({route}));
    const Answer answer = stage.run(conf, stage.call("ADD", id));
    verdict.require(answer.ok(), "ADD failed", answer);
    Json got = answer.json.value("routes", Json::array());
    verdict.require(!got.empty(), "no routes", answer);
    got[0].erase("gw");
    verdict.expect(got[0] == (since(version, "1.1.0") ? route : Json{{"dst", "203.0.113.0/24"}}), "the route became",
                   answer);
  }
}

CONFORMANCE(result_dns, "5 ADD Success", "is", "dns: nameservers, domain, search and options of the network", is_main,
            {.broken_by = {"in:/dns", "out:/dns/options", "out:/dns/search"}}) {
  const Json dns = {{"nameservers", {"192.0.2.53", "2001:db8::53"}},
                    {"domain", "example"},
                    {"search", {"a.example", "b.example"}},
                    {"options", {"ndots:2"}}};
  const Answer answer = stage.run(with(stage.conf(), "dns", dns), stage.call("ADD"));
  verdict.require(answer.ok(), "ADD failed", answer);
  verdict.expect(answer.json.value("dns", Json()) == dns, "dns became", answer);
}

CONFORMANCE(result_prev_result, "5 ADD Success", "MUST",
            "a prevResult is put out with what the plugin changed, and one that changes nothing puts out an equivalent",
            chained, {.broken_by = {"out:/dns", "out:/interfaces/0", "mute"}}) {
  Json prev = stage.conf()["prevResult"];
  prev["dns"] = {{"nameservers", {"192.0.2.53"}}, {"search", {"example"}}};
  prev["routes"].push_back({{"dst", "203.0.113.0/24"}, {"mtu", 1400}, {"table", 0}, {"scope", 253}});
  prev["interfaces"].push_back({{"name", "other0"}, {"socketPath", "/run/other.sock"}, {"pciID", "0000:00:05.0"}});
  const Answer answer = stage.run(with(stage.bare_conf(), "prevResult", prev), stage.call("ADD"));
  verdict.require(answer.ok(), "ADD failed", answer);
  verdict.expect(stage.passed_on(answer.json, prev) == prev, "prevResult " + prev.dump() + " became", answer);
}

CONFORMANCE(result_of_ipam, "5 Delegated plugins (IPAM)", "MUST",
            "an IPAM plugin's result has no interfaces, and no interface in ips", is_ipam,
            {.broken_by = {"out:/interfaces=[]", "out:/ips/0/interface=0"}}) {
  for (const char* version : kVersions) {
    const Json result = stage.add(verdict, version, std::string("vm-") + version);
    verdict.expect(!result.contains("interfaces"), "interfaces: " + result.dump());
    for (const Json& ip : result.value("ips", Json::array()))
      verdict.expect(!ip.contains("interface"), "interface: " + result.dump());
  }
}

CONFORMANCE(version_result, "5 VERSION Success", "MUST",
            "cniVersion is the version that was sent, supportedVersions are all that the plugin speaks", every,
            {.broken_by = {R"(out:/cniVersion="0.9.9")", "out:/supportedVersions/0", "mute"}}) {
  for (const char* version : kVersions) {
    const Answer answer = stage.run(Json{{"cniVersion", version}}, stage.call("VERSION"));
    verdict.require(answer.ok() && answer.json.is_object(), "VERSION failed", answer);
    verdict.expect(answer.json.value("cniVersion", "") == version, std::string("not the version sent, ") + version,
                   answer);
    verdict.expect(answer.json.value("supportedVersions", Json()) == Json(kVersions), "not all versions", answer);
  }
}

CONFORMANCE(error_object, "5 Error", "SHOULD", "an error has cniVersion (the configuration's), code, msg and details",
            every, {.broken_by = {"out:/details", "out:/msg", R"(out:/cniVersion="1.1.0")", R"(out:/code="7")"}}) {
  Call call = stage.call("ADD");
  call.netns = "/run/netns/nobody";
  for (const char* version : {"0.4.0", "1.0.0"}) {
    Answer answer = stage.run(with(stage.conf(version), "name", "a/b"), stage.call("ADD"));
    verdict.require(!answer.ok() && answer.json.is_object(), "no error", answer);
    verdict.expect(answer.json.value("cniVersion", "") == version, "another cniVersion", answer);
    verdict.expect(answer.json.contains("code") && answer.json["code"].is_number_integer(), "code is no number",
                   answer);
    verdict.expect(answer.json.contains("msg") && answer.json["msg"].is_string(), "no msg", answer);
    verdict.expect(answer.json.contains("details") && answer.json["details"].is_string(), "no details", answer);
    verdict.expect(strange_keys(answer.json, {"cniVersion", "code", "msg", "details"}).empty(), "other keys", answer);
  }
}

CONFORMANCE(error_version, "5 Error", "is", "code 1: a version that is not supported, or has no such verb", every,
            {.broken_by = {"skip", "out:/code=7"}}) {
  for (const std::string verb : {"ADD", "DEL", "CHECK", "GC", "STATUS"})
    verdict.expect_error(stage.run(with(stage.bare_conf(), "cniVersion", "1.2.0"), stage.call(verb)), 1, "1.2.0");
  verdict.expect_error(stage.run(stage.bare_conf("0.3.1"), stage.call("CHECK")), 1, "CHECK");
  for (const std::string verb : {"GC", "STATUS"})
    verdict.expect_error(stage.run(stage.bare_conf("1.0.0"), stage.call(verb)), 1, verb);
}

CONFORMANCE(error_environment, "5 Error", "MUST", "code 4: variables that are wrong, each named in the message", every,
            {.broken_by = {"skip", "out:/code=7", R"(out:/msg="bad environment")"}}) {
  for (const std::string verb : {"ADD", "DEL", "CHECK"}) {
    Call call = stage.call(verb);
    call.container_id = "-vm";
    verdict.expect_error(stage.run(stage.conf(), call), 4, "CNI_CONTAINERID");
    call = stage.call(verb);
    call.ifname = "a/b";
    verdict.expect_error(stage.run(stage.conf(), call), 4, "CNI_IFNAME");
    call = stage.call(verb);
    call.container_id = call.ifname = "";
    verdict.expect_error(stage.run(stage.conf(), call), 4, "CNI_CONTAINERID");
    verdict.expect_error(stage.run(stage.conf(), call), 4, "CNI_IFNAME");
  }
  verdict.expect_error(stage.run(stage.conf(), stage.call("REMOVE")), 4, "CNI_COMMAND");
}

CONFORMANCE(error_io, "5 Error", "is", "code 5: input that cannot be read", every,
            {.broken_by = {"skip", "out:/code=7"}}) {
  for (const std::string verb : {"ADD", "DEL", "CHECK", "GC", "STATUS"})
    verdict.expect_error(stage.run(std::string((size_t{1} << 20) + 1, ' '), stage.call(verb)), 5, "stdin");
}

CONFORMANCE(error_decode, "5 Error", "is", "code 6: content that cannot be decoded", every,
            {.broken_by = {"skip", "out:/code=7"}}) {
  for (const std::string verb : {"ADD", "DEL", "CHECK", "GC", "STATUS"})
    for (const std::string text : {"", "{", "[]", "\"net\"", "{\"cniVersion\": 1.1.0}"})
      verdict.expect_error(stage.run(text, stage.call(verb)), 6, "configuration");
  verdict.expect_error(stage.run(with(stage.conf(), "prevResult", {{"ips", 5}}), stage.call("ADD")), 6, "prevResult");
}

CONFORMANCE(error_config, "5 Error", "is", "code 7: a configuration that is not valid", every,
            {.broken_by = {"skip", "out:/code=6"}}) {
  for (const std::string verb : {"ADD", "DEL", "CHECK", "GC", "STATUS"}) {
    verdict.expect_error(stage.run(with(stage.bare_conf(), "name", ""), stage.call(verb)), 7, "\"name\"");
    verdict.expect_error(stage.run(with(stage.bare_conf(), "ipam", 5), stage.call(verb)), 7, "\"ipam\"");
  }
}

CONFORMANCE(error_own_codes, "5 Error", "is", "codes of its own are 100 and above", has_pool,
            {.broken_by = {"skip", "out:/code=99"}}) {
  const Json conf = stage.conf();
  verdict.require(stage.run(conf, stage.call("ADD")).ok(), "ADD failed");
  const Answer answer = stage.run(conf, stage.call("ADD"));  // held already, or the name is in use
  verdict.expect(answer.code() == 102 || answer.code() == 103, "a second ADD is not code 102 or 103", answer);
}

}  // namespace slicer::test::conformance
