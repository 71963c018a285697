#pragma once
// Upstream's rules in the legacy tables.

#include "lib/netfilter/upstream.h"

namespace slicer::netfilter {

/// As remove_upstream_rules(), of the legacy tables. Errors: kUnsupportedKernel (no libiptc), kBusy, kSystem.
Result<void> remove_upstream_from_legacy(const UpstreamOwners& owners);
/// As remove_upstream_openings().
Result<void> remove_upstream_openings_from_legacy(const std::vector<addr::Ip>& addresses);

}  // namespace slicer::netfilter
