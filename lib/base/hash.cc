#include "lib/base/hash.h"

namespace slicer {

uint64_t hash_names(std::initializer_list<std::string_view> parts) {
  uint64_t hash = 0xcbf29ce484222325U;  // FNV offset basis
  const auto mix = [&hash](unsigned char byte) { hash = (hash ^ byte) * 0x100000001b3U; };
  for (const std::string_view part : parts) {
    for (const char c : part) mix(static_cast<unsigned char>(c));
    mix(0);
  }
  hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccdU;
  hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53U;
  return hash ^ (hash >> 33);
}

std::string base32(uint64_t value, size_t length) {
  std::string text(length, 'a');
  for (size_t i = length; i > 0; --i, value >>= 5) text[i - 1] = "abcdefghijklmnopqrstuvwxyz234567"[value & 31];
  return text;
}

}  // namespace slicer
