#pragma once
// Ethernet addresses.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "lib/base/result.h"

namespace slicer::addr {

/// An EUI-48 in transmission order.
struct Mac {
  std::array<uint8_t, 6> bytes = {};

  /// "02:00:5e:00:53:01"
  [[nodiscard]] std::string text() const;
  /// A group address (bit 0 of the first byte): nobody's own address.
  [[nodiscard]] bool is_multicast() const { return (bytes[0] & 1U) != 0; }
  [[nodiscard]] bool is_zero() const { return *this == Mac{}; }
  friend bool operator==(const Mac&, const Mac&) = default;
};

/// The low 46 bits of `value` as a locally administered unicast address (IEEE 802: bits 1 and 0 of the first byte).
Mac local_mac(uint64_t value);

/// Six hexadecimal pairs separated by ':'. Errors: kInvalidConfig; a group address or all zeros is refused too.
Result<Mac> parse_mac(std::string_view text);

}  // namespace slicer::addr
