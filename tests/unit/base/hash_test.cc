#include "lib/base/hash.h"

#include <doctest/doctest.h>

using slicer::base32;
using slicer::hash_names;

TEST_CASE("hash_names: parts do not run into each other") {
  CHECK(hash_names({"a", "bc"}) != hash_names({"ab", "c"}));
  CHECK(hash_names({"a"}) != hash_names({"a", ""}));
}

TEST_CASE("base32: one character for five bits, most significant first") {
  CHECK(base32(0, 4) == "aaaa");
  CHECK(base32(31, 2) == "a7");
  CHECK(base32(32, 2) == "ba");
  CHECK(base32(~uint64_t{0}, 12) == "777777777777");
}
