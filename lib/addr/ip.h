#pragma once
// IP addresses, prefixes and ranges as plain values: parsing, ordering, arithmetic. No sockets, no JSON.

#include <array>
#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "lib/base/result.h"

namespace slicer::addr {

/// Wide enough for an IPv6 address as a number.
__extension__ using Uint128 = unsigned __int128;

enum class Family : uint8_t { kIpv4, kIpv6 };

/// 32 or 128.
constexpr unsigned bits_of(Family family) { return family == Family::kIpv4 ? 32 : 128; }
/// AF_INET or AF_INET6.
int af_of(Family family);

/// An IPv4 or IPv6 address; IPv4 sorts before IPv6.
class Ip {
 public:
  Ip() = default;  ///< 0.0.0.0
  /// `value` in host order; bits above the family's width are dropped.
  Ip(Family family, Uint128 value) : family_(family), value_(family == Family::kIpv4 ? value & 0xffffffffU : value) {}
  /// 4 or 16 bytes in network order; other lengths are a bug of the caller and give 0.0.0.0.
  static Ip from_bytes(std::span<const uint8_t> bytes);

  [[nodiscard]] Family family() const { return family_; }
  [[nodiscard]] bool is_v4() const { return family_ == Family::kIpv4; }
  [[nodiscard]] Uint128 value() const { return value_; }
  /// Network order; the first 4 or all 16 bytes are used.
  [[nodiscard]] std::array<uint8_t, 16> bytes() const;
  /// 4 or 16.
  [[nodiscard]] size_t size() const { return bits_of(family_) / 8; }
  /// The canonical text (RFC 5952 for IPv6).
  [[nodiscard]] std::string text() const;
  /// Address + `count`, wrapping at the family's width.
  [[nodiscard]] Ip plus(Uint128 count) const { return {family_, value_ + count}; }

  friend bool operator==(const Ip&, const Ip&) = default;
  friend std::strong_ordering operator<=>(const Ip& a, const Ip& b) {
    if (a.family_ != b.family_) return a.family_ <=> b.family_;
    return a.value_ < b.value_   ? std::strong_ordering::less
           : a.value_ > b.value_ ? std::strong_ordering::greater
                                 : std::strong_ordering::equal;
  }

 private:
  Family family_ = Family::kIpv4;
  Uint128 value_ = 0;
};

/// An address with a prefix length. The host bits are kept ("192.0.2.7/24" is an interface's address).
struct Cidr {
  Ip ip = {};
  unsigned prefix = 0;

  [[nodiscard]] Family family() const { return ip.family(); }
  [[nodiscard]] Ip mask() const;
  /// The prefix with its host bits cleared.
  [[nodiscard]] Cidr network() const;
  /// The first and the last address of the prefix (network and broadcast address in IPv4's terms).
  [[nodiscard]] Ip first() const { return network().ip; }
  [[nodiscard]] Ip last() const;
  [[nodiscard]] bool contains(const Ip& other) const;
  /// "192.0.2.7/24"
  [[nodiscard]] std::string text() const { return ip.text() + "/" + std::to_string(prefix); }

  friend bool operator==(const Cidr&, const Cidr&) = default;
};

/// Inclusive at both ends; `first` is never above `last`, both of one family.
struct IpRange {
  Ip first = {};
  Ip last = {};

  [[nodiscard]] Family family() const { return first.family(); }
  [[nodiscard]] bool contains(const Ip& ip) const { return first <= ip && ip <= last; }
  [[nodiscard]] bool overlaps(const IpRange& other) const { return first <= other.last && other.first <= last; }
  /// Addresses in it; 0 stands for all 2^128.
  [[nodiscard]] Uint128 size() const { return last.value() - first.value() + 1; }
  /// "192.0.2.7-192.0.2.9"
  [[nodiscard]] std::string text() const { return first.text() + "-" + last.text(); }

  friend bool operator==(const IpRange&, const IpRange&) = default;
};

// Strict: no white space, no leading zeros in IPv4 octets, no zone, no missing parts. Errors: kInvalidConfig, with the
// text and what is allowed.

/// "192.0.2.7" or "2001:db8::7"
Result<Ip> parse_ip(std::string_view text);
/// "192.0.2.7/24"; the prefix length must be there.
Result<Cidr> parse_cidr(std::string_view text);
/// "192.0.2.7/24", or "192.0.2.7" as a /32 (/128).
Result<Cidr> parse_cidr_or_ip(std::string_view text);
/// "192.0.2.7-192.0.2.9"; first <= last, one family.
Result<IpRange> parse_range(std::string_view text);

}  // namespace slicer::addr
