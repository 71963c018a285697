#include "lib/addr/mac.h"

#include <charconv>

namespace slicer::addr {

std::string Mac::text() const {
  std::string out;
  for (const uint8_t byte : bytes) {
    if (!out.empty()) out += ':';
    out += "0123456789abcdef"[byte >> 4U];
    out += "0123456789abcdef"[byte & 15U];
  }
  return out;
}

Mac local_mac(uint64_t value) {
  Mac mac;
  for (size_t i = mac.bytes.size(); i > 0; --i, value >>= 8) mac.bytes.at(i - 1) = static_cast<uint8_t>(value & 0xff);
  mac.bytes[0] = static_cast<uint8_t>((mac.bytes[0] & 0xfcU) | 2U);
  return mac;
}

Result<Mac> parse_mac(std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return fail(Kind::kInvalidConfig, "MAC address '" + std::string(text) + "' " + std::string(why),
                "write six hexadecimal pairs, for example 02:00:5e:00:53:01");
  };
  if (text.size() != 17) return bad("is not six pairs separated by ':'");
  Mac mac;
  for (size_t i = 0; i < mac.bytes.size(); ++i) {
    const std::string_view pair = text.substr(i * 3, 2);
    const auto [end, error] = std::from_chars(pair.data(), pair.data() + 2, mac.bytes.at(i), 16);
    const bool separated = i == 5 || text[i * 3 + 2] == ':';
    if (error != std::errc{} || end != pair.data() + 2 || !separated) return bad("is not six pairs separated by ':'");
  }
  if (mac.is_multicast()) return bad("is a group address");
  if (mac.is_zero()) return bad("is all zeros");
  return mac;
}

}  // namespace slicer::addr
