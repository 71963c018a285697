#pragma once
// Legacy tables of other programs: are they in use, and do they drop what is forwarded? Nothing here makes a table or
// loads a kernel module: only tables that are there already are read.

#include <string>
#include <vector>

#include "lib/netfilter/backend.h"
#include "lib/netfilter/foreign.h"
#include "lib/netfilter/network_parts.h"

namespace slicer::netfilter {

/// Whether legacy tables are there at all, of any program. Reads two files of /proc.
bool legacy_tables_exist();

/// What others keep in the legacy tables: names of tables with a rule, a chain or a policy that is not ACCEPT, besides
/// ours. Errors: kUnsupportedKernel (libiptc is not installed), kSystem.
Result<std::vector<std::string>> legacy_tables_of_others();

/// Has the network chains there?
Result<bool> is_network_in_legacy(const std::string& network);

/// Which parts of its rules are there?
Result<NetworkParts> parts_in_legacy(const std::string& network);
/// Takes their chains away, but for the policy's, and for the opening of a FORWARD that drops.
Result<void> remove_legacy_parts(const std::string& network, const NetworkParts& parts);

/// As find_foreign_firewalls(), of the legacy tables.
Result<std::vector<ForeignFirewall>> find_legacy_firewalls();

/// Lets a network that stands in nftables through a legacy FORWARD that drops. Nothing where none does.
Result<void> ensure_legacy_opening(const std::string& network, const Forward& forward);
/// Error: kMismatch.
Result<void> check_legacy_opening(const std::string& network, const Forward& forward);

}  // namespace slicer::netfilter
