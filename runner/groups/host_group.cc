#include "runner/groups/host_group.h"

#include "lib/base/hash.h"

namespace slicer::runner {
namespace {

constexpr size_t kMaxInterfaceName = 15;  // IFNAMSIZ - 1 (linux/if.h)
constexpr size_t kMaxTapPrefix = 10;      // runner/chain/conflist.cc
constexpr size_t kHashLength = 4;

// Names of interfaces have no dots here: sysctl paths and many tools take those apart.
std::string fit(const std::string& front, const std::string& group, const std::string& back, size_t limit) {
  const bool plain = group.find('.') == std::string::npos;
  if (plain && front.size() + group.size() + back.size() <= limit) return front + group + back;
  const size_t room = limit - front.size() - back.size() - kHashLength;
  return front + group.substr(0, std::min(room, group.find('.'))) + base32(hash_names({group}), kHashLength) + back;
}

}  // namespace

const char* mode_name(NetworkMode mode) {
  switch (mode) {
    case NetworkMode::kBridge:
      return "bridge";
    case NetworkMode::kIsolated:
      return "isolated";
    case NetworkMode::kMacvtap:
      return "macvtap";
  }
  return "?";
}

std::vector<addr::IpRange> GroupNetwork::lan_pool() const {
  if (mode != NetworkMode::kMacvtap || !gateway) return {};
  std::vector<addr::IpRange> pool;
  if (range) pool.push_back(*range);
  for (const addr::Cidr& address : addresses) pool.push_back({.first = address.ip, .last = address.ip});
  if (!pool.empty()) return pool;
  // docs/slicer-ipam.md: a gateway alone gives the highest 35 host addresses, all where there are fewer.
  constexpr addr::Uint128 kPool = 35;
  const addr::Ip first = gateway->first();
  const addr::Ip last(first.family(), gateway->last().value() - (first.is_v4() ? 1 : 0));
  const addr::Ip lowest = first.plus(1);
  const addr::Ip begin(first.family(), last.value() - (kPool - 1));
  return {{.first = last.value() - lowest.value() < kPool ? lowest : begin, .last = last}};
}

size_t GroupNetwork::numbered_vms() const { return range || addresses.empty() ? SIZE_MAX : addresses.size(); }

std::string default_bridge(const std::string& group) { return fit("br", group, "0", kMaxInterfaceName); }

std::string default_tap_prefix(const std::string& group) { return fit("", group, "tap", kMaxTapPrefix); }

}  // namespace slicer::runner
