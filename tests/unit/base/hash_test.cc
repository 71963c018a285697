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

// Kernel names, MAC addresses and isolated ranges of running hosts come from these values. They were computed with an
// implementation of its own and never change.
TEST_CASE("hash_names: the values are a contract") {
  CHECK(hash_names({}) == 0xefd01f60ba992926U);
  CHECK(hash_names({""}) == 0xb9034ad37056f5fbU);
  CHECK(hash_names({"slicer"}) == 0x873816998072fb77U);
  CHECK(hash_names({"slicer", "demo-1"}) == 0x6274c7391705f7a1U);
  CHECK(hash_names({"a", "bc"}) == 0x8563f6d0e4bd066aU);
  CHECK(hash_names({"ab", "c"}) == 0xe380d1d259698919U);
  CHECK(hash_names({"slicer", "demo-1", "vmtap0"}) == 0xabe57c67d1e0e3a6U);
}

TEST_CASE("base32: a whole hash") { CHECK(base32(0x873816998072fb77U, 12) == "ooawtgahf63x"); }
