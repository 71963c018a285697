// Section 2, DEL.
#include <filesystem>

#include "tests/system/conformance/requirement.h"

namespace slicer::test::conformance {
namespace {

/// Whether something of its own can be left of an attachment: an interface, an address, a source of firewalld's.
bool leaves_things(const Subject& subject) { return makes_link(subject) || !chained(subject) || subject.firewalld; }

void expect_nothing_left(Stage& stage, Verdict& verdict, bool namespace_is_there = true) {
  if (makes_link(stage.subject()) && namespace_is_there)
    verdict.expect(!stage.has_interface(), "its link is there after DEL");
  if (!chained(stage.subject())) verdict.expect(!Stage::has_lease(), "the address is reserved after DEL");
  if (stage.subject().firewalld) verdict.expect(!stage.has_source(), "the source is in the zone after DEL");
}

void expect_del(Stage& stage, Verdict& verdict, const Json& conf, const Call& call) {
  const Answer answer = stage.run(conf, call);
  verdict.expect(answer.ok(), "DEL failed", answer);
}

void remove_files() {
  std::error_code none;
  for (const char* folder : {"/var/lib/cni/networks", "/var/lib/slicer/firewalld"})
    for (const auto& entry : std::filesystem::directory_iterator(folder, none))
      (void)std::filesystem::remove_all(entry);
}

}  // namespace

CONFORMANCE(del_undoes, "2 DEL", "SHOULD", "deletes the interface CNI_IFNAME, or undoes what ADD changed",
            leaves_things, {.broken_by = {"skip=DEL", "fail=DEL"}}) {
  const Json result = stage.add(verdict);
  verdict.expect(!makes_link(stage.subject()) || stage.has_interface(), "no link after ADD");
  verdict.expect(Stage::has_lease(), "no address after ADD");
  verdict.expect(!stage.subject().firewalld || stage.has_source(), "no source after ADD");
  expect_del(stage, verdict, stage.conf_with(result), stage.call("DEL"));
  expect_nothing_left(stage, verdict);
}

CONFORMANCE(del_without_prev_result, "2 DEL", "SHOULD", "without a prevResult it succeeds, and cleans up all the same",
            every, {.broken_by = {"skip=DEL", "fail=DEL"}}) {
  (void)stage.add(verdict);
  expect_del(stage, verdict, stage.bare_conf(), stage.call("DEL"));
  expect_nothing_left(stage, verdict);
}

CONFORMANCE(del_repeated, "2 DEL", "MUST", "several DELs of one attachment succeed", every,
            {.broken_by = {"fail=DEL"}}) {
  const Json result = stage.add(verdict);
  for (int i = 0; i < 3; ++i) expect_del(stage, verdict, stage.conf_with(result), stage.call("DEL"));
  expect_nothing_left(stage, verdict);
}

CONFORMANCE(del_unknown, "2 DEL", "MUST", "DEL of what was never added succeeds", every, {.broken_by = {"fail=DEL"}}) {
  expect_del(stage, verdict, stage.bare_conf(), stage.call("DEL"));
}

CONFORMANCE(del_without_variable, "2 DEL", "is", "CNI_NETNS is optional: without it the host's side is cleaned up",
            every, {.broken_by = {"fail=DEL", "skip=DEL"}}) {
  const Json result = stage.add(verdict);
  Call call = stage.call("DEL");
  call.netns = "";
  expect_del(stage, verdict, stage.conf_with(result), call);
  expect_nothing_left(stage, verdict, false);
}

CONFORMANCE(del_namespace_gone, "2 DEL", "SHOULD",
            "succeeds, releases the address and cleans up when the namespace is gone", every,
            {.broken_by = {"fail=DEL", "skip=DEL"}}) {
  const Json result = stage.add(verdict);
  const Json conf = stage.conf_with(result);
  const Call call = stage.call("DEL");
  stage.box().remove();
  expect_del(stage, verdict, conf, call);
  expect_nothing_left(stage, verdict, false);
}

CONFORMANCE(del_interface_gone, "2 DEL", "SHOULD", "succeeds and cleans up when the interface is gone", makes_link,
            {.broken_by = {"fail=DEL", "skip=DEL"}}) {
  const Json result = stage.add(verdict);
  (void)must(std::string("ip link del ") + stage.subject().link, stage.box().path());
  expect_del(stage, verdict, stage.conf_with(result), stage.call("DEL"));
  expect_nothing_left(stage, verdict);
}

CONFORMANCE(del_state_gone, "2 DEL", "SHOULD", "succeeds and cleans up when its files are gone", leaves_things,
            {.broken_by = {"fail=DEL"}}) {
  const Json result = stage.add(verdict);
  remove_files();
  expect_del(stage, verdict, stage.conf_with(result), stage.call("DEL"));
  expect_nothing_left(stage, verdict);
}

CONFORMANCE(del_one_of_two, "2 DEL", "is", "another attachment of the network is left alone", leaves_things,
            {.broken_by = {"env:CNI_CONTAINERID=vm-2"}}) {
  const Json result = stage.add(verdict, kNewest, "vm-1");
  (void)stage.add(verdict, kNewest, "vm-2");
  expect_del(stage, verdict, stage.conf_with(result), stage.call("DEL"));
  expect_nothing_left(stage, verdict);
  if (makes_link(stage.subject())) verdict.expect(stage.has_interface("vm-2"), "the other's link is gone");
  verdict.expect(Stage::has_lease("vm-2"), "the other's address is gone");
  verdict.expect(!stage.subject().firewalld || stage.has_source("vm-2"), "the other's source is gone");
}

}  // namespace slicer::test::conformance
