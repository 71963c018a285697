#include "plugins/isolated/range.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "lib/base/hash.h"

namespace slicer::isolated {
namespace {

using addr::Cidr;
using addr::Family;
using addr::Ip;

constexpr unsigned kRangePrefix = 22;
constexpr uint32_t kLinkLocal = 0xa9fe0000U;  // 169.254.0.0/16
constexpr uint32_t kRanges = 64;
constexpr uint32_t kRangeSize = 1024;

Cidr range_at(uint32_t number) {
  return {.ip = Ip(Family::kIpv4, kLinkLocal + number * kRangeSize), .prefix = kRangePrefix};
}

bool is_reserved(const Cidr& range) {
  return range.contains(Ip(Family::kIpv4, 0xa9fe0000U)) || range.contains(Ip(Family::kIpv4, 0xa9fea9feU)) ||
         range.contains(Ip(Family::kIpv4, 0xa9feff00U));
}

/// RFC 6890: this network, loopback, multicast, reserved and broadcast.
bool overlaps_unroutable(const Cidr& range) {
  const std::array<Cidr, 3> unroutable{Cidr{.ip = Ip(Family::kIpv4, 0), .prefix = 8},
                                       Cidr{.ip = Ip(Family::kIpv4, 0x7f000000U), .prefix = 8},
                                       Cidr{.ip = Ip(Family::kIpv4, 0xe0000000U), .prefix = 3}};
  return std::ranges::any_of(unroutable,
                             [&](const Cidr& each) { return each.contains(range.ip) || range.contains(each.ip); });
}

}  // namespace

std::vector<Cidr> default_ranges(const std::string& network) {
  std::vector<Cidr> ranges;
  for (uint32_t number = 0; number < kRanges; ++number)
    if (!is_reserved(range_at(number))) ranges.push_back(range_at(number));
  const auto first = static_cast<ptrdiff_t>(hash_names({"isolated range", network}) % ranges.size());
  std::ranges::rotate(ranges, ranges.begin() + first);
  return ranges;
}

Result<Cidr> parse_block_range(const std::string& text) {
  const auto bad = [&](const std::string& why, std::string hint) {
    return fail(Kind::kInvalidConfig, fmt::format("'{}' {}", text, why), std::move(hint));
  };
  const Result<Cidr> range = addr::parse_cidr(text);
  if (!range) return bad("is not a range in CIDR notation", "write it as 169.254.100.0/22");
  if (!range->ip.is_v4()) return bad("is IPv6, which this mode has not", "give an IPv4 range");
  if (range->prefix > 30) return bad("has no room for a /30 block", "a prefix length of 30 or less is needed");
  if (range->network() != *range) return bad("has host bits set", fmt::format("write \"{}\"", range->network().text()));
  if (overlaps_unroutable(*range))
    return bad("holds addresses that no VM can have", "choose a range of private or link-local addresses");
  return *range;
}

}  // namespace slicer::isolated
