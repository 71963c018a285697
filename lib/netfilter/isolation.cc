#include "lib/netfilter/isolation.h"

#include "lib/base/hash.h"

namespace slicer::netfilter {
namespace {

constexpr size_t kMaxMark = 127;  // nft's limit of a comment
constexpr size_t kHashLength = 12;
constexpr const char* kPrefix = "slicer:";

std::string hashed(const std::string& text) { return base32(hash_names({text}), kHashLength); }

// No network's name contains '#'.
std::string hashed_network(const std::string& network) { return kPrefix + hashed(network) + "#"; }

}  // namespace

std::string IsolationOwner::mark() const {
  return alias.size() <= kMaxMark ? alias : hashed_network(network) + hashed(alias);
}

bool is_mark_of_network(const std::string& mark, const std::string& network) {
  return mark.starts_with(kPrefix + network + "/") || mark.starts_with(hashed_network(network));
}

std::vector<addr::IpRange> closed_to_isolated(std::span<const addr::Ip> host_addresses) {
  const addr::Cidr link_local{.ip = addr::Ip(addr::Family::kIpv4, 0xa9fe0000U), .prefix = 16};
  std::vector<addr::IpRange> closed{{.first = link_local.first(), .last = link_local.last()}};
  for (const addr::Ip& ip : host_addresses) closed.push_back({.first = ip, .last = ip});
  return closed;
}

}  // namespace slicer::netfilter
