#include "ipam/pool.h"

#include <doctest/doctest.h>

#include "tests/unit/ipam/helpers.h"

using namespace slicer::ipam;
using namespace slicer::ipam::test;

namespace {

Pool two_ranges() {
  return Pool({{.range = range("192.0.2.2-192.0.2.4"), .prefix = 24, .gateway = ip("192.0.2.1")},
               {.range = range("198.51.100.1-198.51.100.3"), .prefix = 25, .gateway = ip("198.51.100.2")}});
}

std::string order_after(const Pool& pool, std::optional<slicer::addr::Ip> last) {
  std::string text;
  for (const Pool::Part& part : pool.search_order(last)) text += part.range.text() + " ";
  return text;
}

Pool blocks() {
  return Pool(
      {{.range = range("169.254.0.2-169.254.1.254"), .stride = 4, .prefix = 30, .gateway = {}, .blocks = true}});
}

}  // namespace

TEST_CASE("pool: the search goes on after the last one, through all segments, round to the last one itself") {
  CHECK(order_after(two_ranges(), std::nullopt) == "192.0.2.2-192.0.2.4 198.51.100.1-198.51.100.3 ");
  CHECK(order_after(two_ranges(), ip("192.0.2.3")) ==
        "192.0.2.4-192.0.2.4 198.51.100.1-198.51.100.3 192.0.2.2-192.0.2.3 ");
  CHECK(order_after(two_ranges(), ip("192.0.2.4")) == "198.51.100.1-198.51.100.3 192.0.2.2-192.0.2.4 ");
  CHECK(order_after(two_ranges(), ip("198.51.100.1")) ==
        "198.51.100.2-198.51.100.3 192.0.2.2-192.0.2.4 198.51.100.1-198.51.100.1 ");
}

TEST_CASE("pool: a last address that the pool does not have starts the search at the beginning") {
  CHECK(order_after(two_ranges(), ip("203.0.113.1")) == order_after(two_ranges(), std::nullopt));
  CHECK(order_after(two_ranges(), ip("2001:db8::1")) == order_after(two_ranges(), std::nullopt));
  CHECK(order_after(blocks(), ip("169.254.0.3")) == order_after(blocks(), std::nullopt));
}

TEST_CASE("pool: each segment has its own prefix length and gateway") {
  const Pool pool = two_ranges();
  REQUIRE(pool.segment_of(ip("198.51.100.3")) != nullptr);
  CHECK(pool.segment_of(ip("198.51.100.3"))->prefix == 25);
  CHECK(pool.segment_of(ip("192.0.2.3"))->gateway_of(ip("192.0.2.3")) == ip("192.0.2.1"));
  CHECK(pool.segment_of(ip("192.0.2.5")) == nullptr);
  CHECK(pool.is_reserved(ip("198.51.100.2")));
  CHECK_FALSE(pool.is_reserved(ip("198.51.100.3")));
}

TEST_CASE("pool: blocks give the third address of each /30, with the second as gateway") {
  const Pool pool = blocks();
  CHECK(pool.contains(ip("169.254.0.6")));
  CHECK_FALSE(pool.contains(ip("169.254.0.5")));
  CHECK(pool.segment_of(ip("169.254.0.6"))->gateway_of(ip("169.254.0.6")) == ip("169.254.0.5"));
}

TEST_CASE("pool: the blocks of 169.254.1.1 and 169.254.169.254 are never given") {
  CHECK(blocks().is_reserved(ip("169.254.1.2")));
  CHECK_FALSE(blocks().is_reserved(ip("169.254.1.6")));
  const Pool metadata({{.range = range("169.254.169.2-169.254.169.254"), .stride = 4, .prefix = 30, .blocks = true}});
  CHECK(metadata.is_reserved(ip("169.254.169.254")));
  CHECK_FALSE(metadata.is_reserved(ip("169.254.169.250")));
}
