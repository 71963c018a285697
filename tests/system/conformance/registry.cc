#include <algorithm>
#include <fstream>
#include <map>

#include "tests/system/conformance/requirement.h"

namespace slicer::test::conformance {
namespace {

std::vector<Requirement>& store() {
  static std::vector<Requirement> all;
  return all;
}

std::vector<NamedRequirement>& runtime_store() {
  static std::vector<NamedRequirement> all;
  return all;
}

std::string key(const Requirement& requirement) { return requirement.section + ": " + requirement.text; }

/// Which plugins, in as few words as can be.
std::string who(const Requirement& requirement) {
  std::string names;
  bool all = true;
  for (const Subject& each : subjects()) {
    if (requirement.applies(each))
      names += (names.empty() ? "" : ", ") + label(each).substr(std::string("slicer-").size());
    else
      all = false;
  }
  return all ? "all plugins" : names;
}

constexpr const char* kHead = R"(# Conformance

What the [CNI specification](https://github.com/containernetworking/cni/blob/main/SPEC.md) 1.1.0 and its
[conventions](https://github.com/containernetworking/cni/blob/main/CONVENTIONS.md) ask of plugins and runtimes, and where
it is tested. Each line is a test that runs with every change: over all plugins that are named, with the built binaries
and the real kernel. This page is made of the suite in `tests/system/conformance` by `scripts/conformance`, and the suite
fails when the page is not what it would make.

- The sentences are told in our words, under the specification's sections.
- The word of the second column is the specification's; "is" stands where it states without such a word.
- "held" was tried on each plugin of its line; for nearly all of them a plugin that is wrong on purpose was seen to
  fail the same test. "differs" says what we do instead, and the test shows that.
- A line with a file's name is proved there.
- "bridge veth" is slicer-bridge with `"device": "veth"`, "tap chained" slicer-tap behind that one, "firewall iptables"
  and "firewall firewalld" slicer-firewall with that `backend`, the latter with a real firewalld.

)";

/// The tables of hostile input, by kind.
std::string bad_input() {
  std::string rows;
  size_t sum = 0;
  for (const std::string kind : {"environment", "configuration", "prev_result", "files", "kernel"}) {
    const std::string file = "tests/system/conformance/bad_input/" + kind + ".json";
    std::ifstream stream(std::string(SLICER_SOURCE_DIR) + "/" + file);
    const size_t count = Json::parse(stream).size();
    sum += count;
    rows += "| " + kind + " | " + std::to_string(count) + " | `" + file + "` |\n";
  }
  return "## Bad input\n\n" + std::to_string(sum) +
         " rows of what no caller should send, each on every plugin and verb that it is about: the error code that is\n"
         "due, what the message names, no crash, no hang, nothing left, and another attachment of the network "
         "untouched.\n\n"
         "| kind | rows | table |\n|---|---|---|\n" +
         rows;
}

}  // namespace

const std::vector<Requirement>& requirements() { return store(); }

const std::vector<NamedRequirement>& runtime_requirements() { return runtime_store(); }

bool enroll_runtime(NamedRequirement requirement) {
  runtime_store().push_back(std::move(requirement));
  return true;
}

bool enroll(Requirement requirement) {
  // CMake would cut the test's name there.
  if (requirement.text.find(';') != std::string::npos) give_up("a ';' in '" + requirement.text + "'");
  store().push_back(std::move(requirement));
  return true;
}

Verdict prove(const Requirement& requirement, const Subject& subject, const std::string& distortion) {
  Verdict verdict;
  try {
    Stage stage(subject, distortion);
    requirement.prove(stage, verdict);
  } catch (const Unprovable&) {
    return verdict;  // which says why
  }
  return verdict;
}

namespace {

void check_notices(const Requirement& requirement, const Subject& subject) {
  for (const std::string& distortion : requirement.extra.broken_by)
    CHECK_MESSAGE(!prove(requirement, subject, distortion).violations().empty(),
                  label(subject) << " distorted by '" << distortion << "' passes: the test proves nothing");
}

}  // namespace

void check_requirement(const char* name) {
  const auto found = std::ranges::find_if(store(), [&](const Requirement& each) { return key(each) == name; });
  REQUIRE(found != store().end());
  for (const Subject& each : subjects()) {
    if (!found->applies(each) || each.firewalld) continue;
    if (!can_be_tried(each)) {
      MESSAGE(label(each) << " is not tried here: " << each.needs << " fails");
      continue;
    }
    const Verdict verdict = prove(*found, each);
    for (const std::string& violation : verdict.violations()) FAIL_CHECK(label(each) << ": " << violation);
  }
  const auto first = std::ranges::find_if(subjects(), found->applies);
  REQUIRE(first != subjects().end());
  check_notices(*found, *first);
}

void check_all_requirements(const Subject& subject) {
  for (const Requirement& each : store()) {
    if (!each.applies(subject)) continue;
    CAPTURE(each.text);
    const Verdict verdict = prove(each, subject);
    for (const std::string& violation : verdict.violations()) FAIL_CHECK(violation);
    check_notices(each, subject);
  }
}

std::string document() {
  std::map<std::string, std::string> sections;
  for (const Requirement& each : store())
    sections[each.section] += "| " + each.text + " | " + each.level + " | " + who(each) + " | " +
                              (each.extra.differs.empty() ? "held" : "differs: " + each.extra.differs) + " |\n";
  for (const NamedRequirement& each : runtime_requirements())
    sections[each.section] += "| " + each.text + " | " + each.level + " | " + each.who + " | held |\n";
  for (const NamedRequirement& each : named_requirements())
    sections[each.section] +=
        "| " + each.text + " | " + each.level + " | " + each.who + " | held: `tests/" + each.file + "` |\n";
  std::string text = kHead;
  for (const auto& [title, rows] : sections)
    text += "## " + (title.starts_with("C ") ? "Conventions, " : "Section " + title.substr(0, 2)) + title.substr(2) +
            "\n\n| requirement | word | of | result |\n|---|---|---|---|\n" + rows + "\n";
  text += bad_input();
  return text;
}

}  // namespace slicer::test::conformance
