#include "lib/base/sha512.h"

#include <doctest/doctest.h>

using slicer::sha512_hex;

// Expected values: sha512sum(1).
TEST_CASE("sha512: of the standard's examples, and around the end of a block") {
  CHECK(sha512_hex("") ==
        "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
        "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e");
  CHECK(sha512_hex("abc") ==
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
  // 111 bytes and their end fill one block, 112 need a second one.
  CHECK(sha512_hex(std::string(111, 'a')).substr(0, 64) ==
        "fa9121c7b32b9e01733d034cfc78cbf67f926c7ed83e82200ef8681819692176");
  CHECK(sha512_hex(std::string(112, 'b')).substr(0, 64) ==
        "fd29e3caf85c0e469f0f157a3d8dad942e776c4cf8fcd1e10fc5592af6024ade");
  CHECK(sha512_hex(std::string(300, 'c')).substr(0, 64) ==
        "3bb58806e7a74e964a0434dfc13ce0404b28dc70f2c0f2315ddddd9fc4a6c66f");
}
