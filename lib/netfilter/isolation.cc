#include "lib/netfilter/isolation.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/base/hash.h"
#include "lib/netfilter/iptables/foreign.h"
#include "lib/netfilter/iptables/isolation.h"
#include "lib/netfilter/nftables/isolation.h"
#include "lib/netfilter/openings.h"

namespace slicer::netfilter {
namespace {

constexpr size_t kMaxMark = 127;  // nft's limit of a comment
constexpr size_t kHashLength = 12;
constexpr const char* kPrefix = "slicer:";

std::string hashed(const std::string& text) { return base32(hash_names({text}), kHashLength); }

// No network's name contains '#'.
std::string hashed_network(const std::string& network) { return kPrefix + hashed(network) + "#"; }

/// Where the host's rules stand.
struct Standing {
  bool legacy = false;
  bool nftables = false;
  [[nodiscard]] bool nowhere() const { return !legacy && !nftables; }
};

/// What says something of legacy tables on a host without libiptc: ours are not there.
Result<bool> legacy_stands() {
  Result<bool> stands = stands_in_legacy();
  if (!stands && stands.error().kind == Kind::kUnsupportedKernel) return false;
  return stands;
}

Result<Standing> find_standing() {
  const bool legacy = TRY(legacy_stands());
  const bool nftables = TRY(stands_in_nftables());
  return Standing{.legacy = legacy, .nftables = nftables};
}

std::vector<MarkedBridge> marked(const std::vector<ListedBridge>& bridges) {
  std::vector<MarkedBridge> all;
  for (const ListedBridge& bridge : bridges) all.push_back({.name = bridge.name, .mark = network_mark(bridge.network)});
  return all;
}

/// `plan` for each backend that has the host's rules; nftables where none has them.
Result<void> change_openings(const std::string& action, const OpeningPlan& plan) {
  const bool legacy = TRY(legacy_stands());
  if (legacy) TRY(change_legacy_openings(action, plan));
  if (legacy && !TRY(stands_in_nftables())) return {};
  return change_nft_openings(action, plan);
}

Result<void> check_listed(const std::vector<ListedBridge>& wanted, const std::vector<MarkedBridge>& standing) {
  for (const ListedBridge& bridge : wanted) {
    if (std::ranges::find(standing, bridge.name, &MarkedBridge::name) != standing.end()) continue;
    const std::string whose = bridge.network.empty() ? "its network" : fmt::format("network '{}'", bridge.network);
    return fail(
        Kind::kMismatch,
        fmt::format(
            "check the rules of isolated networks: '{}', which leads to VMs, is not among the bridges that they close",
            bridge.name),
        fmt::format("slicer-run network reload puts it back, as does the next ADD on {}; find out who took it away",
                    whose));
  }
  return {};
}

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

Result<void> ensure_isolation(IsolationLock& lock, BackendName place, bool legacy_tables,
                              const std::function<Result<std::vector<ListedBridge>>()>& own_bridges, LossWatch* watch) {
  const auto own = [&]() -> Result<std::vector<MarkedBridge>> { return marked(TRY(own_bridges())); };
  if (place != BackendName::kIptables && !legacy_tables) return ensure_nft_isolation(own, watch);
  Standing standing = TRY(find_standing());
  if (standing.nowhere() && place == BackendName::kIptables) {
    // Two first ADDs with different backends would else both make them, and an opening stand in one of them alone.
    TRY(lock.make_exclusive());
    standing = TRY(find_standing());
  }
  if (standing.legacy || (standing.nowhere() && place == BackendName::kIptables))
    TRY(ensure_legacy_isolation([&]() -> Result<std::vector<MarkedBridge>> {
      if (watch != nullptr && watch->evidence) watch->lost = TRY(watch->evidence(false));
      std::vector<MarkedBridge> bridges = TRY(own());
      std::ranges::move(TRY(nft_listed_bridges()), std::back_inserter(bridges));
      return bridges;
    }));
  if (standing.nftables || (standing.nowhere() && place != BackendName::kIptables))
    TRY(ensure_nft_isolation(own, watch));
  return {};
}

Result<void> check_isolation(const std::vector<ListedBridge>& bridges) {
  if (TRY(legacy_stands())) {
    TRY(check_legacy_isolation());
    TRY(check_listed(bridges, TRY(legacy_listed_bridges())));
    if (!TRY(stands_in_nftables())) return {};
  }
  TRY(check_nft_isolation());
  return check_listed(bridges, TRY(nft_listed_bridges()));
}

Result<bool> is_closed_to_isolated(const std::string& link) {
  if (link.starts_with(kOwnLinks)) return true;
  const auto has = [&](const std::vector<MarkedBridge>& listed) {
    return std::ranges::find(listed, link, &MarkedBridge::name) != listed.end();
  };
  if (has(TRY(nft_listed_bridges()))) return true;
  return TRY(legacy_stands()) && has(TRY(legacy_listed_bridges()));
}

Result<bool> remove_isolation() {
  bool legacy = false;
  if (TRY(legacy_stands())) legacy = TRY(remove_legacy_isolation());
  Result<bool> own = remove_nft_isolation();
  if (!own && own.error().kind == Kind::kUnsupportedKernel) return legacy;
  return own ? Result<bool>(*own || legacy) : std::move(own);
}

Result<void> open_host_addresses(const IsolationOwner& owner, const addr::Ip& vm, std::span<const addr::Ip> addresses) {
  std::vector<Opening> wanted;
  for (const addr::Ip& ip : addresses) {
    Opening opening{.source = vm, .destination = ip, .comment = owner.mark()};
    if (ip.is_v4() && std::ranges::find(wanted, opening) == wanted.end()) wanted.push_back(std::move(opening));
  }
  return change_openings(
      fmt::format("open addresses of the host to '{}'", owner.alias), [&](std::vector<Opening> standing) {
        // A leftover of whoever had the VM's address before says nothing for this one.
        std::erase_if(standing,
                      [&](const Opening& opening) { return opening.comment == owner.mark() || opening.source == vm; });
        std::ranges::copy(wanted, std::back_inserter(standing));
        return standing;
      });
}

Result<void> close_host_addresses(const IsolationOwner& owner) {
  return change_openings(
      fmt::format("close addresses of the host to '{}'", owner.alias), [&](std::vector<Opening> standing) {
        std::erase_if(standing, [&](const Opening& opening) { return opening.comment == owner.mark(); });
        return standing;
      });
}

Result<void> close_stale_host_addresses(const std::string& network, std::span<const IsolationOwner> valid) {
  std::vector<std::string> marks;
  for (const IsolationOwner& owner : valid) marks.push_back(owner.mark());
  std::ranges::sort(marks);
  return change_openings(
      fmt::format("close addresses of the host to network '{}'", network), [&](std::vector<Opening> standing) {
        std::erase_if(standing, [&](const Opening& opening) {
          return is_mark_of_network(opening.comment, network) && !std::ranges::binary_search(marks, opening.comment);
        });
        return standing;
      });
}

Result<std::vector<addr::Ip>> opened_host_addresses(const IsolationOwner& owner) {
  std::vector<addr::Ip> addresses;
  for (const Opening& opening : TRY(legacy_stands()) ? TRY(legacy_openings()) : TRY(nft_openings()))
    if (opening.comment == owner.mark()) addresses.push_back(opening.destination);
  return addresses;
}

}  // namespace slicer::netfilter
