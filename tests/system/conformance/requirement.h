#pragma once
// A normative sentence of the CNI specification, as a proof that runs on each plugin that it is about. The sentences
// are told in words of ours; the section says where the specification has them.
//
//   CONFORMANCE(result_of_add, "2 ADD", "MUST", "a success prints a result structure on stdout", every,
//               {.broken_by = {"mute"}}) {
//     verdict.expect(stage.add(verdict).is_object(), "no object");
//   }
//
// is a test case, a row of docs/conformance.md, and is seen to fail: a plugin distorted by each of `broken_by`
// (distorted_plugin.cc) must violate it.

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/system/conformance/stage.h"

namespace slicer::test::conformance {

using Applies = bool (*)(const Subject&);
inline bool every(const Subject& /*subject*/) { return true; }
inline bool calls_ipam(const Subject& subject) { return *subject.lease != '\0'; }
inline bool chained(const Subject& subject) { return *subject.behind != '\0'; }
inline bool is_firewall(const Subject& subject) { return std::string(subject.name) == "slicer-firewall"; }
inline bool stands_first(const Subject& subject) { return *subject.behind == '\0'; }

struct Extra {
  std::vector<std::string> broken_by = {};
  /// Where what we do is not what the sentence says, and why; the proof then shows what we do.
  std::string differs = {};
};

struct Requirement {
  std::string section = {};
  std::string level = {};  ///< MUST, SHOULD, MAY, or what the sentence says without such a word: "is"
  std::string text = {};
  Applies applies = every;
  void (*prove)(Stage&, Verdict&) = nullptr;
  Extra extra = {};
};

/// A requirement that another test proves.
struct NamedRequirement {
  std::string section = {};
  std::string level = {};
  std::string text = {};
  std::string who = {};   ///< as the table shows it: "all plugins", "slicer-run"
  std::string file = {};  ///< below tests/
  std::string name = {};  ///< of the TEST_CASE, its beginning
};

/// Of a runtime: a test of runtime_test.cc.
bool enroll_runtime(NamedRequirement requirement);

/// In the order of the sources.
const std::vector<Requirement>& requirements();
/// Those of tests elsewhere (named.cc); those of runtime_test.cc.
std::vector<NamedRequirement> named_requirements();
const std::vector<NamedRequirement>& runtime_requirements();
bool enroll(Requirement requirement);

/// The proof on one plugin; what require() throws is a violation too.
Verdict prove(const Requirement& requirement, const Subject& subject, const std::string& distortion = {});
/// The proof on every plugin that it is about, as doctest checks.
void check_requirement(const char* name);

/// Every requirement that is about one plugin, and every distortion of it.
void check_all_requirements(const Subject& subject);

/// docs/conformance.md.
std::string document();

}  // namespace slicer::test::conformance

#define CONFORMANCE(id, section, level, text, applies, ...)                                             \
  static void id(slicer::test::conformance::Stage& stage, slicer::test::conformance::Verdict& verdict); \
  static const bool id##_enrolled =                                                                     \
      slicer::test::conformance::enroll({section, level, text, applies, id, __VA_ARGS__});              \
  TEST_CASE("conformance " section ": " text) {                                                         \
    (void)id##_enrolled;                                                                                \
    slicer::test::conformance::check_requirement(section ": " text);                                    \
  }                                                                                                     \
  static void id([[maybe_unused]] slicer::test::conformance::Stage& stage,                              \
                 [[maybe_unused]] slicer::test::conformance::Verdict& verdict)

/// A normative sentence about runtimes, as a doctest case with slicer-run.
#define RUNTIME(section, level, text) RUNTIME_CASE(DOCTEST_ANONYMOUS(runtime_enrolled_), section, level, text)
#define RUNTIME_CASE(id, section, level, text)                                           \
  static const bool id = slicer::test::conformance::enroll_runtime(                      \
      {section, level, text, "slicer-run", "system/conformance/runtime_test.cc", text}); \
  TEST_CASE("conformance " section ": " text)
