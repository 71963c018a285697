// The tables of the docs are the tests' own data.
#include <doctest/doctest.h>

#include <fstream>
#include <iterator>

#include "tests/system/reachability/matrix.h"

using namespace slicer::test::reachability;

namespace {

/// SLICER_MATRIX_OUT: a folder to write the tables to, when the docs are behind.
void check_page(const std::string& page, const std::vector<Column>& columns) {
  const std::string table = markdown(columns);
  if (const char* folder = getenv("SLICER_MATRIX_OUT"); folder != nullptr)
    std::ofstream(std::string(folder) + "/" + page) << table;
  std::ifstream file(std::string(SLICER_DOCS_DIR) + "/" + page);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  CHECK_MESSAGE(text.find(table) != std::string::npos, page, " should have:\n", table);
}

}  // namespace

TEST_CASE("reachability: the tables in the docs") {
  check_page("slicer-firewall.md", bridge_columns());
  check_page("slicer-isolated.md", isolated_columns());
}
