// The page and the suite say the same.
#include <fstream>
#include <iterator>

#include "tests/system/conformance/requirement.h"

namespace slicer::test::conformance {

namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(std::string(SLICER_SOURCE_DIR) + "/" + path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

TEST_CASE("conformance: docs/conformance.md is what this suite says") {
  if (const char* out = std::getenv("SLICER_CONFORMANCE_OUT"); out != nullptr) {
    std::ofstream(out) << document();
    return;
  }
  CHECK_MESSAGE(text_of("docs/conformance.md") == document(),
                "docs/conformance.md is out of date: run scripts/conformance");
}

TEST_CASE("conformance: tests that are named elsewhere are there") {
  for (const NamedRequirement& each : named_requirements()) {
    CAPTURE(each.text);
    CHECK(text_of("tests/" + each.file).find("\"" + each.name) != std::string::npos);
  }
}

}  // namespace slicer::test::conformance
