// Section 4, and what section 2 says of delegated plugins: a spy stands in for the IPAM plugin.
#include "tests/system/conformance/requirement.h"

namespace slicer::test::conformance {
namespace {

constexpr const char* kSpy = "spy-ipam";

/// The calls of the spy with this verb.
std::vector<Json> spied(const std::string& verb) {
  std::vector<Json> found;
  for (Json& call : Stage::spied())
    if (call["command"] == verb) found.push_back(std::move(call));
  return found;
}

/// An attachment whose IPAM plugin is a spy; the result of its ADD.
struct Spied {
  Spied(Stage& stage, Verdict& verdict) : conf(stage.with_spy(stage.conf())) {
    Stage::install_spy(kSpy);
    Answer answer = stage.run(conf, stage.call("ADD"));
    verdict.require(answer.ok(), "ADD failed", answer);
    result = std::move(answer.json);
  }
  [[nodiscard]] Json with_result() const { return with(conf, "prevResult", result); }
  Json conf;
  Json result = {};
};

Json failing(Json conf, const std::string& verb, int code) {
  conf["ipam"]["spy"]["fail"][verb] = {{"cniVersion", "1.1.0"}, {"code", code}, {"msg", "the spy says no"}};
  return conf;
}

/// What the spy saw of a verb must be what the plugin was called with.
void expect_same_call(Verdict& verdict, const std::string& verb, const Json& conf, const Call& call) {
  const std::vector<Json> calls = spied(verb);
  verdict.require(calls.size() == 1, verb + " of the delegate: " + std::to_string(calls.size()) + " calls");
  verdict.expect(calls[0]["conf"] == conf, verb + ": the delegate read " + calls[0]["conf"].dump());
  for (const auto& [name, value] : cni_environment(call)) {
    if (value.empty()) continue;
    const std::string got = calls[0]["env"].value(name, "(none)");
    verdict.expect(got == value, verb + ": the delegate's " + name + " is '" + got + "', not '" + value + "'");
  }
}

}  // namespace

CONFORMANCE(delegate_gives_address, "4 Delegated Plugin protocol", "MUST",
            "what the IPAM plugin returns is what the interface gets", calls_ipam,
            {.broken_by = {R"(in:/ipam/spy/result={"ips": []})"}}) {
  const Spied spied_add(stage, verdict);
  verdict.expect(address_of(spied_add.result, 4) == stage.subject().lease, "the result is " + spied_add.result.dump());
}

CONFORMANCE(delegate_same_call, "4 Delegated plugin execution procedure", "SHOULD",
            "runs with the environment and the configuration that the plugin received", calls_ipam,
            {.broken_by = {"env:CNI_ARGS=A=b", R"(in:/name="other")", "env:X_OWN=2"}}) {
  Stage::install_spy(kSpy);
  const Json conf = with(stage.with_spy(stage.conf()), "x.strange", {1, 2});
  Call call = stage.call("ADD");
  call.args = "IgnoreUnknown=1;K8S_POD_NAME=pod;A=;B=x=y;C=last";
  call.extra["X_OWN"] = "1";
  call.extra["CNI_OF_THE_FUTURE"] = "yes";
  const Answer answer = stage.run(conf, call);
  verdict.require(answer.ok(), "ADD failed", answer);
  expect_same_call(verdict, "ADD", conf, call);
}

CONFORMANCE(delegate_on_path, "4 Delegated plugin execution procedure", "SHOULD",
            "is looked up in the folders of CNI_PATH, in their order", calls_ipam,
            {.broken_by = {"env:CNI_PATH=/nonexistent"}}) {
  Stage::install_spy(kSpy);
  const Json conf = stage.with_spy(stage.conf());
  Call call = stage.call("ADD");
  const std::string spies = call.extra["CNI_PATH"];
  call.extra["CNI_PATH"] = "/nonexistent";
  verdict.expect_error(stage.run(conf, call), 101, kSpy);
  call.extra["CNI_PATH"] = "/nonexistent:" + spies;
  const Answer answer = stage.run(conf, call);
  verdict.expect(answer.ok(), "ADD failed", answer);
}

CONFORMANCE(delegate_stderr, "4 Delegated plugin execution procedure", "SHOULD",
            "its stderr goes to the plugin's stderr", calls_ipam, {.broken_by = {R"(in:/ipam/spy/say="")"}}) {
  Stage::install_spy(kSpy);
  Json conf = stage.with_spy(stage.conf());
  conf["ipam"]["spy"]["say"] = "the spy was here\n";
  const Answer answer = stage.run(conf, stage.call("ADD"));
  verdict.expect(answer.ok(), "ADD failed", answer);
  verdict.expect(answer.err.find("the spy was here") != std::string::npos, "nothing on stderr", answer);
}

CONFORMANCE(delegate_every_verb, "4 Delegated plugin execution procedure", "MUST",
            "CHECK, DEL and GC run it too, with the same configuration and environment", calls_ipam,
            {.broken_by = {"skip=CHECK", "skip=DEL", "skip=GC", "env:CNI_ARGS=A=b"}}) {
  const Spied spied_add(stage, verdict);
  const Json later = spied_add.with_result();
  for (const std::string verb : {"CHECK", "GC", "DEL"}) {
    const Json conf = verb == "GC" ? with(spied_add.conf, "/cni.dev~1valid-attachments", Json::array()) : later;
    Call call = stage.call(verb);
    call.args = "B=2;A=1";
    const Answer answer = stage.run(conf, call);
    verdict.expect(answer.ok(), verb + " failed", answer);
    expect_same_call(verdict, verb, conf, call);
    if (verb != "GC") continue;
    // Nothing is valid: the plugin's own part is gone, too. Made anew for DEL.
    Stage::forget_spied();
    verdict.require(stage.run(spied_add.conf, stage.call("ADD")).ok(), "ADD after GC failed");
  }
}

CONFORMANCE(delegate_status, "2 STATUS", "MUST", "runs STATUS of the delegated plugin", calls_ipam,
            {.broken_by = {"skip=STATUS"}}) {
  Stage::install_spy(kSpy);
  const Json conf = stage.with_spy(stage.bare_conf());
  const Call call = stage.call("STATUS");
  const Answer answer = stage.run(conf, call);
  verdict.expect(answer.ok(), "STATUS failed", answer);
  expect_same_call(verdict, "STATUS", conf, call);
}

CONFORMANCE(delegate_status_fails, "2 STATUS", "SHOULD",
            "an error of the delegated plugin's STATUS is returned, 50 and 51", calls_ipam,
            {.broken_by = {"skip=STATUS", "out:/code=999"}}) {
  Stage::install_spy(kSpy);
  for (const int code : {50, 51})
    verdict.expect_error(stage.run(failing(stage.with_spy(stage.bare_conf()), "STATUS", code), stage.call("STATUS")),
                         code, "the spy says no");
}

CONFORMANCE(delegate_fails, "4 Delegated plugin execution procedure", "SHOULD",
            "an error of CHECK, DEL or GC is returned, with its code", calls_ipam,
            {.broken_by = {"skip=CHECK", "out:/code=999", "exit=0"}}) {
  const Spied spied_add(stage, verdict);
  for (const std::string verb : {"CHECK", "GC", "DEL"}) {
    Json conf = failing(spied_add.with_result(), verb, 123);
    if (verb == "GC") conf["cni.dev/valid-attachments"] = {{{"containerID", "vm-1"}, {"ifname", "tap0"}}};
    verdict.expect_error(stage.run(conf, stage.call(verb)), 123, "the spy says no");
  }
}

CONFORMANCE(delegate_fails_gc, "2 GC", "SHOULD", "goes on after an error, removes what it can, and reports the error",
            calls_ipam, {.broken_by = {"fail=GC", "skip=GC"}}) {
  const Spied spied_add(stage, verdict);
  Json conf = failing(spied_add.conf, "GC", 123);
  conf["cni.dev/valid-attachments"] = Json::array();
  verdict.expect_error(stage.run(conf, stage.call("GC")), 123, "the spy says no");
  verdict.expect(!stage.has_interface(), "the stale interface is there");
}

CONFORMANCE(delegate_fails_del, "2 DEL", "SHOULD", "an IPAM plugin that fails does not keep the interface alive",
            calls_ipam, {.broken_by = {"fail=DEL", "skip=DEL"}}) {
  const Spied spied_add(stage, verdict);
  verdict.expect_error(stage.run(failing(spied_add.with_result(), "DEL", 123), stage.call("DEL")), 123,
                       "the spy says no");
  verdict.expect(!stage.has_interface(), "tap0 is there after DEL");
  const Answer again = stage.run(spied_add.with_result(), stage.call("DEL"));
  verdict.expect(again.ok(), "a second DEL failed", again);
}

CONFORMANCE(delegate_failed_add, "4 Delegated plugin execution procedure", "SHOULD",
            "one whose ADD failed is called with DEL before the failure is returned", calls_ipam,
            {.broken_by = {"skip=ADD", R"(in:/ipam/type="slicer-ipam")", "out:/code=999"}}) {
  Stage::install_spy(kSpy);
  const Json conf = failing(stage.with_spy(stage.conf()), "ADD", 123);
  const Call call = stage.call("ADD");
  verdict.expect_error(stage.run(conf, call), 123, "the spy says no");
  Call deleted = call;
  deleted.command = "DEL";
  expect_same_call(verdict, "DEL", conf, deleted);
  verdict.expect(!stage.has_interface(), "an interface is left");
}

CONFORMANCE(delegate_failed_later, "4 Delegated plugin execution procedure", "is",
            "an ADD that fails after IPAM's gives the address back", calls_ipam,
            {.broken_by = {R"(in:/ipam/spy/fail={"ADD": {"code": 1, "msg": ""}})"}}) {
  Stage::install_spy(kSpy);
  Json conf = stage.with_spy(stage.conf());
  conf["ipam"]["spy"]["result"]["ips"] = {{{"address", "192.0.2.300/24"}}};
  const Answer answer = stage.run(conf, stage.call("ADD"));
  verdict.expect_error(answer, 6, "192.0.2.300");
  verdict.expect(spied("DEL").size() == 1, "IPAM's DEL was not called");
  verdict.expect(!stage.has_interface(), "an interface is left");
}

CONFORMANCE(delegate_gc_forwarded, "2 GC", "MUST",
            "is forwarded to delegated plugins, with the list of valid attachments", calls_ipam,
            {.broken_by = {"skip=GC", "in:/cni.dev~1valid-attachments=[]"}}) {
  Stage::install_spy(kSpy);
  Json conf = stage.with_spy(stage.bare_conf());
  conf["cni.dev/valid-attachments"] = {{{"containerID", "vm-7"}, {"ifname", "tap0"}}};
  const Call call = stage.call("GC");
  const Answer answer = stage.run(conf, call);
  verdict.expect(answer.ok(), "GC failed", answer);
  expect_same_call(verdict, "GC", conf, call);
}

CONFORMANCE(delegate_check, "2 CHECK", "SHOULD", "calls CHECK of the delegated plugin and passes its error on",
            calls_ipam, {.broken_by = {"skip=CHECK"}}) {
  const Spied spied_add(stage, verdict);
  verdict.expect_error(stage.run(failing(spied_add.with_result(), "CHECK", 123), stage.call("CHECK")), 123,
                       "the spy says no");
}

}  // namespace slicer::test::conformance
