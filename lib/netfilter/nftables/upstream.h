#pragma once
// Upstream's rules in nf_tables: iptables-nft's tables, and those that its plugins write by nft.

#include "lib/netfilter/upstream.h"

namespace slicer::netfilter {

/// As remove_upstream_rules(), of nf_tables. Errors: kUnsupportedKernel (no nf_tables), kBusy, kSystem.
Result<void> remove_upstream_from_nftables(const UpstreamOwners& owners);
/// As remove_upstream_openings().
Result<void> remove_upstream_openings_from_nftables(const std::vector<addr::Ip>& addresses);

}  // namespace slicer::netfilter
