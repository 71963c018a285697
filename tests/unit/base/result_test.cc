#include "lib/base/result.h"

#include <doctest/doctest.h>

#include <cerrno>

#include "lib/base/undo.h"

using slicer::Error;
using slicer::fail;
using slicer::Kind;
using slicer::Result;

namespace {

Result<int> half(int n) {
  if (n % 2 != 0) return fail(Kind::kInvalidConfig, std::to_string(n) + " is odd");
  return n / 2;
}
Result<int> quarter(int n) { return half(TRY(half(n))); }
Result<int> three_steps(std::string& log, bool complete) {
  slicer::Undo undo;
  for (const char step : {'a', 'b', 'c'}) {
    undo.push("step", [&log, step]() -> Result<void> {
      log += step;
      return {};
    });
  }
  if (!complete) return fail(Kind::kInternal, "late failure");
  undo.commit();
  return 3;
}

}  // namespace

TEST_CASE("TRY: a value goes on, an error returns") {
  CHECK(quarter(8).value() == 2);
  const Result<int> odd = quarter(6);
  REQUIRE(!odd);
  CHECK(odd.error().message == "3 is odd");
}

TEST_CASE("Result: context names the step, hint does not replace one") {
  const Result<int> failed = half(3).context("halve").hint("take an even number").hint("second");
  REQUIRE(!failed);
  CHECK(failed.error().message == "halve: 3 is odd");
  CHECK(failed.error().hint == "take an even number");
}

TEST_CASE("errno_error: the text has words and the name") {
  const Error error = slicer::errno_error(ENODEV, "attach tap 'tap3'");
  CHECK(error.message == "attach tap 'tap3': No such device (ENODEV)");
  CHECK(error.sys_errno == ENODEV);
}

TEST_CASE("Undo: runs backwards unless committed") {
  std::string log;
  CHECK(!three_steps(log, false));
  CHECK(log == "cba");
  log.clear();
  CHECK(three_steps(log, true).value() == 3);
  CHECK(log.empty());
}
