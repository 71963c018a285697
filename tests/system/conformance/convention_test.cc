// The conventions page: capabilities, "args", CNI_ARGS, chained plugins.
#include "tests/system/conformance/requirement.h"

namespace slicer::test::conformance {
namespace {

constexpr const char* kMac = "02:00:5e:00:53:aa";

bool has_pool(const Subject& subject) { return !chained(subject); }
bool is_main(const Subject& subject) { return makes_interface(subject); }
/// slicer-isolated's pool is its "range".
bool takes_ranges(const Subject& subject) {
  return has_pool(subject) && std::string(subject.name) != "slicer-isolated";
}

std::string wish_of(const Subject& subject) { return is_main(subject) ? subject.lease : "192.0.2.9/24"; }
std::string without_prefix(const std::string& cidr) { return cidr.substr(0, cidr.find('/')); }

/// An ADD whose address must be `cidr`.
void expect_address(Stage& stage, Verdict& verdict, const Json& conf, const Call& call, const std::string& cidr) {
  const Answer answer = stage.run(conf, call);
  verdict.require(answer.ok(), "ADD failed", answer);
  verdict.expect(address_of(answer.json, 4) == cidr, "another address than " + cidr, answer);
}

void expect_mac(Stage& stage, Verdict& verdict, const Json& conf, const std::string& args) {
  Call call = stage.call("ADD");
  call.args = args;
  const Answer answer = stage.run(conf, call);
  verdict.require(answer.ok(), "ADD failed", answer);
  // The guest's own; slicer-tap as a plain TAP gives it to that, as upstream's tap does.
  bool found = false;
  for (const Json& each : answer.json.value("interfaces", Json::array()))
    found = found || (each["name"] == "tap0" && each.value("mac", "") == kMac);
  verdict.expect(found, std::string("another MAC than ") + kMac, answer);
  (void)stage.run(conf, stage.call("DEL"));
}

}  // namespace

CONFORMANCE(capability_mac, "C Well-known Capabilities", "is", "mac: runtimeConfig.mac is the interface's MAC", is_main,
            {.broken_by = {"in:/runtimeConfig"}}) {
  expect_mac(stage, verdict, with(stage.conf(), "/runtimeConfig/mac", kMac), "");
}

CONFORMANCE(capability_ips, "C Well-known Capabilities", "is", "ips: addresses with or without prefix length", has_pool,
            {.broken_by = {"in:/runtimeConfig"}}) {
  const std::string wish = wish_of(stage.subject());
  for (const std::string& text : {wish, without_prefix(wish)}) {
    const Json conf = with(stage.conf(), "/runtimeConfig/ips", Json::array({text}));
    expect_address(stage, verdict, conf, stage.call("ADD"), wish);
    (void)stage.run(conf, stage.call("DEL"));
  }
}

CONFORMANCE(capability_ip_ranges, "C Well-known Capabilities", "is",
            "ipRanges: sets of ranges, before the configured ones", takes_ranges,
            {.broken_by = {"in:/runtimeConfig"}}) {
  Json conf = stage.conf();
  conf["ipam"] = {{"type", "slicer-ipam"}};
  conf["runtimeConfig"]["ipRanges"] = {{{{"subnet", "198.51.100.0/24"},
                                         {"rangeStart", "198.51.100.40"},
                                         {"rangeEnd", "198.51.100.49"},
                                         {"gateway", "198.51.100.1"}}}};
  expect_address(stage, verdict, conf, stage.call("ADD"), "198.51.100.40/24");
}

CONFORMANCE(capability_unknown, "C Well-known Capabilities", "MAY",
            "those of other plugins in the chain (portMappings, dns, aliases, …) are no error", every,
            {.broken_by = {"fail=ADD"}}) {
  Json conf = stage.conf();
  conf["capabilities"] = {{"portMappings", true}, {"mac", true}};
  conf["runtimeConfig"] = {{"portMappings", {{{"hostPort", 8080}, {"containerPort", 80}, {"protocol", "tcp"}}}},
                           {"dns", {{"servers", {"192.0.2.53"}}}},
                           {"aliases", {"db"}},
                           {"deviceID", "0000:04:00.5"},
                           {"infinibandGUID", "c2:11:22:33:44:55:66:77"},
                           {"cgroupPath", "/a.slice"}};
  const Answer answer = stage.run(conf, stage.call("ADD"));
  verdict.expect(answer.ok(), "ADD failed", answer);
}

CONFORMANCE(capability_malformed, "C Dynamic Plugin specific fields", "SHOULD", "a value that is malformed is an error",
            is_main, {.broken_by = {"in:/runtimeConfig"}}) {
  for (const Json& mac : {Json("02:00:5e"), Json(5), Json("ff:ff:ff:ff:ff:ff")})
    verdict.expect_error(stage.run(with(stage.conf(), "/runtimeConfig/mac", mac), stage.call("ADD")), 7, "mac");
  verdict.expect_error(stage.run(with(stage.conf(), "/runtimeConfig/ips", {"192.0.2.300"}), stage.call("ADD")), 7,
                       "ips");
  verdict.expect(!Stage::has_lease() && !stage.has_interface(), "something is left");
}

CONFORMANCE(args_of_conf, "C args in network config", "SHOULD", "what a plugin does not know in args is ignored", every,
            {.broken_by = {"fail=ADD"}}) {
  const Json args = {{"cni", {{"labels", {{{"key", "app"}, {"value", "myapp"}}}}}},
                     {"org.example", {1, 2, {{"a", nullptr}}}}};
  const Answer answer = stage.run(with(stage.conf(), "args", args), stage.call("ADD"));
  verdict.expect(answer.ok(), "ADD failed", answer);
}

CONFORMANCE(args_ips, "C args in network config", "is", "args.cni.ips asks for addresses", has_pool,
            {.broken_by = {"in:/args"}}) {
  const std::string wish = wish_of(stage.subject());
  expect_address(stage, verdict, with(stage.conf(), "/args/cni/ips", Json::array({wish})), stage.call("ADD"), wish);
}

CONFORMANCE(args_ip, "C CNI_ARGS", "is", "IP asks for an address, with or without prefix length", has_pool,
            {.broken_by = {"env:CNI_ARGS="}}) {
  const std::string wish = wish_of(stage.subject());
  for (const std::string& text : {wish, without_prefix(wish)}) {
    Call call = stage.call("ADD");
    call.args = "IP=" + text;
    expect_address(stage, verdict, stage.conf(), call, wish);
    (void)stage.run(stage.conf(), stage.call("DEL"));
  }
}

CONFORMANCE(args_unknown, "C CNI_ARGS", "is", "keys that nobody knows are ignored, with IgnoreUnknown and without",
            every, {.broken_by = {"fail=ADD"}}) {
  for (const std::string prefix : {"", "IgnoreUnknown=1;", "IgnoreUnknown=true;", "IgnoreUnknown=0;"}) {
    for (const std::string verb : {"ADD", "DEL"}) {
      Call call = stage.call(verb);
      call.args = prefix + "K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod-1;FOO=;BAR=a=b";
      const Answer answer = stage.run(stage.conf(), call);
      verdict.expect(answer.ok(), verb + " with '" + call.args + "' failed", answer);
    }
  }
}

CONFORMANCE(args_mac_order, "C CNI_ARGS", "MUST", "MAC of CNI_ARGS is ignored where args or runtimeConfig has one",
            is_main, {.broken_by = {"in:/args"}}) {
  expect_mac(stage, verdict, with(stage.conf(), "/args/cni/mac", kMac), "MAC=02:00:5e:00:53:bb");
  expect_mac(stage, verdict, with(stage.conf(), "/runtimeConfig/mac", kMac), "MAC=02:00:5e:00:53:bb");
}

CONFORMANCE(
    args_ip_order, "C CNI_ARGS", "MUST", "IP of CNI_ARGS is ignored where args.cni.ips is given", has_pool,
    {.broken_by = {"env:CNI_ARGS="},
     .differs = "the addresses are a union, as with upstream's host-local; one too many is an error, not silence"}) {
  const std::string wish = wish_of(stage.subject());
  const Json conf = with(stage.conf(), "/args/cni/ips", Json::array({wish}));
  Call call = stage.call("ADD");
  call.args = "IP=" + without_prefix(wish);
  expect_address(stage, verdict, conf, call, wish);
  (void)stage.run(conf, stage.call("DEL"));
  call.args = "IP=192.0.2.8";
  const Answer answer = stage.run(conf, call);
  verdict.expect(!answer.ok(), "two addresses of one pool were given", answer);
}

CONFORMANCE(chained_tap, "C Chained Plugins", "SHOULD", "a chained plugin takes any host-side interface, a TAP too",
            chained, {.broken_by = {"fail=ADD"}}) {
  const Json conf = stage.conf();
  bool tap = false;
  for (const Json& each : conf["prevResult"]["interfaces"]) tap = tap || each["name"] == "tap0";
  verdict.expect(tap, "no TAP before it: " + conf.dump());
  const Answer answer = stage.run(conf, stage.call("ADD"));
  verdict.expect(answer.ok(), "ADD failed", answer);
}

}  // namespace slicer::test::conformance
