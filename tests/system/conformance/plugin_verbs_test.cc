// Section 2: parameters, errors, STATUS, VERSION, GC.
#include "tests/system/conformance/requirement.h"

namespace slicer::test::conformance {

namespace {

bool has_pool(const Subject& subject) { return !chained(subject); }
bool leaves_things(const Subject& subject) { return makes_link(subject) || has_pool(subject) || subject.firewalld; }

/// No variable of an attachment.
Call bare_call(Stage& stage, const std::string& verb) {
  Call call = stage.call(verb);
  call.container_id = call.netns = call.ifname = "";
  return call;
}

/// A pool of one address.
Json narrow(Json conf) {
  const std::string type = conf["type"];
  if (type == "slicer-isolated")
    conf["range"] = "169.254.100.0/30";
  else
    conf["ipam"] = {{"type", "slicer-ipam"},
                    {"subnet", type == "slicer-macvtap" ? "198.51.100.0/24" : "192.0.2.0/24"},
                    {"range", type == "slicer-macvtap" ? "198.51.100.230-198.51.100.230" : "192.0.2.7-192.0.2.7"}};
  return conf;
}

Json valid_list(Json conf, const std::vector<std::string>& ids) {
  Json list = Json::array();
  for (const std::string& id : ids) list.push_back({{"containerID", id}, {"ifname", "tap0"}});
  conf["cni.dev/valid-attachments"] = list;
  return conf;
}

}  // namespace

TEST_CASE("conformance: slicer-firewall with firewalld holds to every sentence that is about it") {
  const Subject& firewall = subject("slicer-firewall firewalld");
  if (!can_be_tried(firewall)) SLICER_SKIP("no firewalld in build/firewalld (scripts/test unpacks it), or no busctl");
  check_all_requirements(firewall);
}

CONFORMANCE(exit_codes, "2 Errors", "MUST", "exit code 0 on success, another one on failure", every,
            {.broken_by = {"exit=0", "exit=1"}}) {
  const Json result = stage.add(verdict);
  for (const std::string verb : {"CHECK", "STATUS", "GC", "DEL"}) {
    const bool attached = verb == "CHECK" || verb == "DEL";
    const Json good = attached ? stage.conf_with(result) : valid_list(stage.bare_conf(), {"vm-1"});
    const Answer answer = stage.run(good, stage.call(verb));
    verdict.expect(answer.ok(), verb + " failed", answer);
  }
  for (const std::string verb : {"ADD", "CHECK", "STATUS", "GC", "DEL"}) {
    const Answer answer = stage.run(with(stage.conf(), "cniVersion", "9.9.9"), stage.call(verb));
    verdict.expect(answer.exit_code == 1, verb + " of a version that does not exist succeeds", answer);
  }
}

CONFORMANCE(error_structure, "2 Errors", "SHOULD", "a failure prints an error structure, of every verb", every,
            {.broken_by = {"mute", "out:/code", "out:/msg", "skip"}}) {
  for (const std::string verb : {"ADD", "CHECK", "STATUS", "GC", "DEL"}) {
    const Answer answer = stage.run(with(stage.conf(), "cniVersion", "9.9.9"), stage.call(verb));
    verdict.require(answer.json.is_object(), verb + ": stdout is no object", answer);
    verdict.expect(answer.json.value("code", 0) == 1, verb + ": no code 1", answer);
    verdict.expect(answer.msg().find("9.9.9") != std::string::npos, verb + ": the message has no version", answer);
    verdict.expect(answer.json.contains("cniVersion"), verb + ": no cniVersion", answer);
  }
}

CONFORMANCE(args_pairs, "2 Parameters", "is",
            "CNI_ARGS: pairs separated by semicolons, of which one asks for an address", has_pool,
            {.broken_by = {"env:CNI_ARGS=A=b"}}) {
  const std::string wish = makes_interface(stage.subject()) ? stage.subject().lease : "192.0.2.9/24";
  Call call = stage.call("ADD");
  call.args = "IgnoreUnknown=1;IP=" + wish.substr(0, wish.find('/')) + ";K8S_POD_NAME=a.b-c";
  const Answer answer = stage.run(stage.conf(), call);
  verdict.require(answer.ok(), "ADD failed", answer);
  verdict.expect(address_of(answer.json, 4) == wish, "another address than " + wish, answer);
}

CONFORMANCE(path_optional, "2 Parameters", "is", "CNI_PATH is optional for ADD, DEL, CHECK and STATUS", every,
            {.broken_by = {"skip"},
             .differs = "it is demanded (code 4), as libcni's own skeleton does; every runtime sends it"}) {
  for (const std::string verb : {"ADD", "DEL", "CHECK", "STATUS"}) {
    Call call = stage.call(verb);
    call.extra["CNI_PATH"] = "";
    verdict.expect_error(stage.run(stage.conf(), call), 4, "CNI_PATH");
  }
}

CONFORMANCE(status_ready, "2 STATUS", "MUST",
            "exit code 0 when an ADD could be served: no attachment's variable is needed", every,
            {.broken_by = {"fail=STATUS"}}) {
  const Answer answer = stage.run(stage.bare_conf(), bare_call(stage, "STATUS"));
  verdict.expect(answer.ok(), "STATUS failed", answer);
  verdict.expect(answer.out.empty(), "STATUS prints something", answer);
}

CONFORMANCE(status_exhausted, "2 STATUS", "MUST", "a failure with code 50 when its addresses are exhausted", has_pool,
            {.broken_by = {"skip=STATUS", "out:/code=7"}}) {
  const Json conf = narrow(stage.bare_conf());
  verdict.expect(stage.run(conf, bare_call(stage, "STATUS")).ok(), "STATUS of a pool with one free address failed");
  const Answer added = stage.run(conf, stage.call("ADD"));
  verdict.require(added.ok(), "ADD failed", added);
  verdict.expect_error(stage.run(conf, bare_call(stage, "STATUS")), 50, "no address is free");
}

CONFORMANCE(status_prevents_nothing, "2 STATUS", "SHOULD", "other operations work while STATUS fails", has_pool,
            {.broken_by = {"fail=DEL", "fail=CHECK", "skip=STATUS"}}) {
  const Json conf = narrow(stage.bare_conf());
  const Answer added = stage.run(conf, stage.call("ADD"));
  verdict.require(added.ok(), "ADD failed", added);
  verdict.expect(!stage.run(conf, bare_call(stage, "STATUS")).ok(), "STATUS of a full pool succeeds");
  const Json later = with(conf, "prevResult", added.json);
  const Answer checked = stage.run(later, stage.call("CHECK"));
  verdict.expect(checked.ok(), "CHECK failed", checked);
  const Answer deleted = stage.run(later, stage.call("DEL"));
  verdict.expect(deleted.ok(), "DEL failed", deleted);
  verdict.expect(stage.run(conf, bare_call(stage, "STATUS")).ok(), "STATUS fails after the DEL");
}

CONFORMANCE(status_not_relied_on, "2 STATUS", "MUST NOT", "does not rely on STATUS being called", every,
            {.broken_by = {"fail=ADD"}}) {
  (void)stage.add(verdict);
}

CONFORMANCE(version_needs_nothing, "2 VERSION", "is", "needs CNI_COMMAND alone", every,
            {.broken_by = {"mute", "out:/supportedVersions", "fail=VERSION"}}) {
  Call call = bare_call(stage, "VERSION");
  call.extra["CNI_PATH"] = "";
  const Answer answer = stage.run(Json{{"cniVersion", kNewest}}, call);
  verdict.require(answer.ok() && answer.json.is_object(), "VERSION failed", answer);
  verdict.expect(answer.json.value("supportedVersions", Json()) == Json(kVersions), "not all versions", answer);
}

CONFORMANCE(gc_removes_stale, "2 GC", "SHOULD", "removes what attachments left that are not in the list", leaves_things,
            {.broken_by = {"skip=GC", "in:/cni.dev~1valid-attachments"}}) {
  for (const char* id : {"vm-1", "vm-2"}) (void)stage.add(verdict, kNewest, id);
  const Answer answer = stage.run(valid_list(stage.bare_conf(), {"vm-2"}), bare_call(stage, "GC"));
  verdict.require(answer.ok(), "GC failed", answer);
  if (has_pool(stage.subject())) verdict.expect(!Stage::has_lease("vm-1"), "the stale address is reserved");
  if (makes_link(stage.subject())) verdict.expect(!stage.has_interface("vm-1"), "the stale interface is there");
  if (stage.subject().firewalld) verdict.expect(!stage.has_source("vm-1"), "the stale source is in the zone");
}

CONFORMANCE(gc_keeps_valid, "2 GC", "is", "what is in the list stays as it is", every,
            {.broken_by = {"in:/cni.dev~1valid-attachments=[]"}}) {
  const Json result = stage.add(verdict);
  const Answer answer = stage.run(valid_list(stage.bare_conf(), {"vm-1"}), bare_call(stage, "GC"));
  verdict.expect(answer.ok(), "GC failed", answer);
  const Answer checked = stage.run(stage.conf_with(result), stage.call("CHECK"));
  verdict.expect(checked.ok(), "CHECK of a valid attachment failed", checked);
}

CONFORMANCE(gc_keeps_networks, "2 GC", "is", "another network's attachments stay", leaves_things,
            {.broken_by = {R"(in:/name="net")"}}) {
  (void)stage.add(verdict);
  const Json other = with(valid_list(stage.bare_conf(), {}), "name", "other");
  const Answer answer = stage.run(other, bare_call(stage, "GC"));
  verdict.expect(answer.ok(), "GC failed", answer);
  if (has_pool(stage.subject())) verdict.expect(Stage::has_lease(), "the address is gone");
  if (makes_link(stage.subject())) verdict.expect(stage.has_interface(), "the interface is gone");
  if (stage.subject().firewalld) verdict.expect(stage.has_source(), "the source is gone");
}

CONFORMANCE(gc_is_silent, "2 GC", "is", "no output on success, and CNI_COMMAND and CNI_PATH are all that it needs",
            every, {.broken_by = {"say", "fail=GC"}}) {
  const Answer answer = stage.run(valid_list(stage.bare_conf(), {}), bare_call(stage, "GC"));
  verdict.expect(answer.ok(), "GC failed", answer);
  verdict.expect(answer.out.empty(), "GC prints something", answer);
}

}  // namespace slicer::test::conformance
