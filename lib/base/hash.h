#pragma once
// Stable 64-bit hashes of names. The values are part of the contract: kernel names, MAC addresses and isolated ranges
// come from them, so they are the same on every machine and in every release (tests/unit/base/hash_test.cc pins them).

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace slicer {

/// FNV-1a (64 bit) over the parts, each closed by a zero byte so that {"a","bc"} and {"ab","c"} differ, then mixed by
/// MurmurHash3's 64-bit finalizer so that every bit of the result is usable. Not for adversaries: owners are verified.
uint64_t hash_names(std::initializer_list<std::string_view> parts);

/// The low 5 * `length` bits of `value` in lower-case base 32 (a-z2-7), most significant first; `length` is at most 12.
std::string base32(uint64_t value, size_t length);

}  // namespace slicer
