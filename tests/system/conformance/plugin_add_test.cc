// Section 2, ADD.
#include "tests/system/conformance/requirement.h"

namespace slicer::test::conformance {

/// Behind another plugin slicer-tap is a chained plugin, and another subject.
static bool makes_its_own(const Subject& subject) {
  return makes_interface(subject) && std::string(subject.name) != "slicer-tap";
}

CONFORMANCE(add_prints_result, "2 ADD", "MUST", "a success prints a result structure on stdout", every,
            {.broken_by = {"mute", "fail", "out:/cniVersion"}}) {
  const Answer answer = stage.run(stage.conf(), stage.call("ADD"));
  verdict.require(answer.ok(), "ADD failed", answer);
  verdict.require(answer.json.is_object(), "stdout is not one JSON object", answer);
  verdict.expect(answer.json.value("cniVersion", "") == kNewest, "no cniVersion", answer);
  verdict.expect(!answer.json.contains("code"), "an error object", answer);
}

CONFORMANCE(add_makes_interface, "2 ADD", "SHOULD", "makes the interface CNI_IFNAME in CNI_NETNS", makes_interface,
            {.broken_by = {"skip", "env:CNI_IFNAME=other0"}}) {
  verdict.expect(!stage.has_interface(), "tap0 is there before ADD");
  (void)stage.add(verdict);
  verdict.expect(stage.has_interface(), "tap0 is not there after ADD");
}

CONFORMANCE(add_refuses_existing, "2 ADD", "MUST", "an interface of the name that exists already is an error",
            makes_interface, {.broken_by = {"skip", "exit=0"}}) {
  (void)must("ip link add tap0 type bridge", stage.box().path());
  const std::string link = must("ip -o link show dev tap0", stage.box().path());
  verdict.expect_error(stage.run(stage.conf(), stage.call("ADD")), 102, "tap0");
  verdict.expect(must("ip -o link show dev tap0", stage.box().path()) == link, "the other's interface was changed");
  verdict.expect(!Stage::has_lease(), "an address is left");
}

CONFORMANCE(add_hands_on_prev_result, "2 ADD", "MUST", "a prevResult is passed through or modified", chained,
            {.broken_by = {"mute", "out:/ips", "out:/interfaces/1"}}) {
  const Json conf = stage.conf();
  const Json result = stage.add(verdict);
  const Json& before = conf["prevResult"];
  verdict.expect(stage.passed_on(result, before) == before, "prevResult " + before.dump() + " became " + result.dump());
}

CONFORMANCE(add_stands_first, "2 ADD", "MUST", "a prevResult is handed on by a plugin that makes the interface",
            makes_its_own,
            {.broken_by = {"fail=ADD", R"(out:/dns/domain="before0")"},
             .differs = "it belongs first in its chain: what was before it is not in its result, as with upstream's"}) {
  Json conf = stage.conf();
  conf["prevResult"] = {{"cniVersion", kNewest},
                        {"interfaces", {{{"name", "before0"}, {"sandbox", stage.box().path()}}}},
                        {"ips", {{{"address", "203.0.113.9/24"}, {"interface", 0}}}}};
  const Answer answer = stage.run(conf, stage.call("ADD"));
  verdict.require(answer.ok(), "ADD failed", answer);
  verdict.expect(answer.out.find("before0") == std::string::npos, "the interface before it is in the result", answer);
}

}  // namespace slicer::test::conformance
