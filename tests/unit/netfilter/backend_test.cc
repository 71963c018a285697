#include "lib/netfilter/backend.h"

#include <doctest/doctest.h>

using namespace slicer;
using namespace slicer::netfilter;

TEST_CASE("make_backend: the names that there are") {
  for (const char* name : {"", "auto", "nftables"}) {
    INFO(name);
    CHECK(make_backend(name).has_value());
  }
}

TEST_CASE("make_backend: an unknown name is answered with all that are known") {
  const auto refused = make_backend("ipfw");
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().kind == Kind::kInvalidConfig);
  CHECK(refused.error().message == R"("backend": "ipfw" is none of "auto", "nftables", "iptables")");
}
