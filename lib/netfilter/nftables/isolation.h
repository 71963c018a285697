#pragma once
// The host's side of isolated networks in table `inet slicer`. Private to lib/netfilter; isolation.h is the face.

#include <functional>
#include <string>
#include <vector>

#include "lib/netfilter/isolation.h"
#include "lib/netfilter/openings.h"

namespace slicer::netfilter {

/// Is any of the chains there? False without nf_tables.
Result<bool> stands_in_nftables();

/// As ensure_isolation(), check_isolation() and remove_isolation(), for this backend.
Result<void> ensure_nft_isolation(const std::function<Result<std::vector<MarkedBridge>>()>& bridges,
                                  LossWatch* watch = nullptr);
Result<void> check_nft_isolation();
Result<bool> remove_nft_isolation();

/// One transaction; nothing when nothing is to change.
Result<void> change_nft_openings(const std::string& action, const OpeningPlan& plan);
Result<std::vector<Opening>> nft_openings();

/// The set `bridges`; none without nf_tables.
Result<std::vector<MarkedBridge>> nft_listed_bridges();

}  // namespace slicer::netfilter
