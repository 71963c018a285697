#pragma once
// The host's side of isolated networks in the legacy tables. Private to lib/netfilter; isolation.h is the face.
//
//   mangle   PREROUTING -i sls+  -> slicer-iso-pre    no address of the host, before any DNAT; not 169.254.0.0/16
//            INPUT      -i sls+  -> slicer-iso-inp    nor one that is translated to the host's
//            FORWARD    -i sls+  -> slicer-iso-fwd    no link of ours, no bridge in slicer-iso-bridges
//            FORWARD    -o sls+  -> slicer-iso-to     replies alone
//            OUTPUT     -o sls+  -> slicer-iso-to
//                                   slicer-iso-open   a rule for each address that an allow list names
// IPv6: the same hooks lead to slicer-iso-shut, which drops.

#include <span>
#include <string>
#include <vector>

#include "lib/netfilter/iptables/rule.h"
#include "lib/netfilter/isolation.h"
#include "lib/netfilter/openings.h"

namespace slicer::netfilter {

inline constexpr const char* kIsolationBridgesChain = "slicer-iso-bridges";

/// The element of slicer-iso-bridges.
IptRule isolation_bridge_rule(const MarkedBridge& bridge);

/// Is any of it there? A table that is not in use is not read.
Result<bool> stands_in_legacy();

/// Makes them stand. `bridges` are asked for when something is missing.
Result<void> ensure_legacy_isolation(const std::function<Result<std::vector<MarkedBridge>>()>& bridges);
/// Error: kMismatch.
Result<void> check_legacy_isolation();
/// The chain slicer-iso-bridges.
Result<std::vector<MarkedBridge>> legacy_listed_bridges();
/// False: there was nothing.
Result<bool> remove_legacy_isolation();

/// Only where the rules stand; else nothing.
Result<void> change_legacy_openings(const std::string& action, const OpeningPlan& plan);
Result<std::vector<Opening>> legacy_openings();

/// Bridges of the other backend become known to chains of this one that name bridges: isolated networks' and
/// ingressPolicy's, where they are there.
Result<void> list_in_legacy(const std::vector<MarkedBridge>& bridges);

}  // namespace slicer::netfilter
