#include "lib/addr/ip.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>

namespace slicer::addr {
namespace {

constexpr Uint128 kAllOnes = ~Uint128{0};

Result<unsigned> parse_prefix(std::string_view text, Family family, std::string_view whole) {
  unsigned prefix = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), prefix);
  const bool leading_zero = text.size() > 1 && text.front() == '0';
  if (error != std::errc{} || end != text.data() + text.size() || leading_zero || prefix > bits_of(family)) {
    return fail(Kind::kInvalidConfig, "'" + std::string(whole) + "': prefix length '" + std::string(text) +
                                          "' is not in 0-" + std::to_string(bits_of(family)));
  }
  return prefix;
}

}  // namespace

int af_of(Family family) { return family == Family::kIpv4 ? AF_INET : AF_INET6; }

Ip Ip::from_bytes(std::span<const uint8_t> bytes) {
  if (bytes.size() != 4 && bytes.size() != 16) return {};
  Uint128 value = 0;
  for (const uint8_t byte : bytes) value = (value << 8) | byte;
  return {bytes.size() == 4 ? Family::kIpv4 : Family::kIpv6, value};
}

std::array<uint8_t, 16> Ip::bytes() const {
  std::array<uint8_t, 16> out{};
  Uint128 rest = value_;
  for (size_t i = size(); i > 0; --i, rest >>= 8) out.at(i - 1) = static_cast<uint8_t>(rest & 0xff);
  return out;
}

std::string Ip::text() const {
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  const auto raw = bytes();
  return inet_ntop(af_of(family_), raw.data(), buffer.data(), buffer.size());
}

Ip Cidr::mask() const {
  const unsigned width = bits_of(ip.family());
  const Uint128 ones = prefix == 0 ? 0 : kAllOnes << (width - prefix);
  return {ip.family(), ones};
}

Cidr Cidr::network() const { return {.ip = Ip(ip.family(), ip.value() & mask().value()), .prefix = prefix}; }

Ip Cidr::last() const { return {ip.family(), ip.value() | ~mask().value()}; }

bool Cidr::contains(const Ip& other) const { return first() <= other && other <= last(); }

Result<Ip> parse_ip(std::string_view text) {
  const std::string copy(text);  // inet_pton wants a terminating zero; an embedded one makes the lengths differ below
  std::array<uint8_t, 16> raw{};
  const bool v6 = copy.find(':') != std::string::npos;
  const bool whole = copy.find('\0') == std::string::npos;
  if (!whole || inet_pton(v6 ? AF_INET6 : AF_INET, copy.c_str(), raw.data()) != 1)
    return fail(Kind::kInvalidConfig, "'" + copy + "' is not an IP address");
  return Ip::from_bytes(std::span(raw).first(v6 ? 16 : 4));
}

Result<Cidr> parse_cidr(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) {
    return fail(Kind::kInvalidConfig, "'" + std::string(text) + "' has no prefix length",
                "write it as ADDRESS/LENGTH, for example 192.0.2.0/24");
  }
  const Ip ip = TRY(parse_ip(text.substr(0, slash)));
  const unsigned prefix = TRY(parse_prefix(text.substr(slash + 1), ip.family(), text));
  return Cidr{.ip = ip, .prefix = prefix};
}

Result<Cidr> parse_cidr_or_ip(std::string_view text) {
  if (text.find('/') != std::string_view::npos) return parse_cidr(text);
  const Ip ip = TRY(parse_ip(text));
  return Cidr{.ip = ip, .prefix = bits_of(ip.family())};
}

Result<IpRange> parse_range(std::string_view text) {
  const size_t dash = text.find('-');
  if (dash == std::string_view::npos) {
    return fail(Kind::kInvalidConfig, "'" + std::string(text) + "' is not a range",
                "write it as FIRST-LAST, for example 192.0.2.20-192.0.2.80");
  }
  const Ip first = TRY(parse_ip(text.substr(0, dash)));
  const Ip last = TRY(parse_ip(text.substr(dash + 1)));
  if (first.family() != last.family() || last < first) {
    return fail(Kind::kInvalidConfig,
                "range '" + std::string(text) + "' does not run upwards within one address family",
                "put the lower address first");
  }
  return IpRange{.first = first, .last = last};
}

}  // namespace slicer::addr
