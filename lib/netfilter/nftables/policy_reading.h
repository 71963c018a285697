#pragma once
// Policies in force, read back with their counters. Private to the nftables files.

#include <optional>
#include <string>

#include "lib/netfilter/backend.h"
#include "lib/netfilter/nftables/policy.h"

namespace slicer::netfilter {

/// Absent: the ruleset changed while it was read.
Result<std::optional<PoliciesInForce>> read_policies_in_force(NftSession& session, const std::string& network);

/// One policy in any table of this namespace; absent as above.
Result<std::optional<PolicyInForce>> read_policy(NftSession& session, const PolicyPlace& place);

}  // namespace slicer::netfilter
