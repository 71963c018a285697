#include "lib/netfilter/upstream.h"

#include <fmt/format.h>

#include <utility>

#include "lib/netfilter/iptables/upstream.h"
#include "lib/netfilter/nftables/upstream.h"

namespace slicer::netfilter {
namespace {

/// Where there are no tables of a kind, or none can be read, there is nothing of upstream's that could be removed.
Result<void> where_it_is(Result<void> done) {
  if (!done && done.error().kind == Kind::kUnsupportedKernel) return {};
  return done;
}

Result<void> of_both(Result<void> nftables, Result<void> legacy, const std::string& action) {
  nftables = where_it_is(std::move(nftables));
  legacy = where_it_is(std::move(legacy));
  return (nftables ? std::move(legacy) : std::move(nftables)).context(action);
}

std::string described(const UpstreamOwners& owners) {
  if (!owners.only) return fmt::format("'{}'", owners.network);
  return fmt::format("'{}/{}/{}'", owners.network, owners.only->container_id, owners.only->ifname);
}

}  // namespace

Result<void> remove_upstream_rules(const UpstreamOwners& owners) {
  return of_both(remove_upstream_from_nftables(owners), remove_upstream_from_legacy(owners),
                 "remove the rules that upstream's plugins made for " + described(owners));
}

Result<void> remove_upstream_openings(const std::vector<addr::Ip>& addresses) {
  if (addresses.empty()) return {};
  return of_both(remove_upstream_openings_from_nftables(addresses), remove_upstream_openings_from_legacy(addresses),
                 "remove the rules that upstream's firewall plugin made");
}

}  // namespace slicer::netfilter
