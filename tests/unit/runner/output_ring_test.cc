#include "runner/supervisor/output_ring.h"

#include <doctest/doctest.h>

#include <string>

#include "runner/supervisor/stop_order.h"

namespace slicer::runner {
namespace {

std::string all_from(const OutputRing& ring, uint64_t offset) {
  std::string text;
  while (offset < ring.end()) {
    const std::string_view piece = ring.piece(offset);
    text += piece;
    offset += piece.size();
  }
  return text;
}

}  // namespace

TEST_CASE("OutputRing: the last 64 KiB, whatever pieces they came in") {
  for (const size_t step : {size_t{1}, size_t{7}, size_t{4096}, size_t{65536}, size_t{70000}, size_t{200000}}) {
    CAPTURE(step);
    OutputRing ring;
    std::string written;
    CHECK(all_from(ring, ring.begin()).empty());
    while (written.size() < 200000) {
      std::string text;
      while (text.size() < step) text += static_cast<char>('a' + (written.size() + text.size()) % 23);
      ring.append(text);
      written += text;
    }
    CHECK(ring.end() == written.size());
    CHECK(ring.end() - ring.begin() == OutputRing::kBytes);
    CHECK(all_from(ring, ring.begin()) == written.substr(written.size() - OutputRing::kBytes));
    CHECK(all_from(ring, ring.end() - 10) == written.substr(written.size() - 10));
  }
}

TEST_CASE("StopOrder: what a signal's value carries") {
  const StopOrder order = order_from(order_value({.keep = true, .limit = std::chrono::seconds(3600)}));
  CHECK(order.keep);
  CHECK(order.limit == std::chrono::seconds(3600));
  const StopOrder plain = order_from(0);  // kill(1)
  CHECK_FALSE(plain.keep);
  CHECK(plain.limit == kPowerDownLimit);
}

}  // namespace slicer::runner
