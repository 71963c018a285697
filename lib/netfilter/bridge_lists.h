#pragma once
// Which network is on which bridge, and by what lists it judges. Private to lib/netfilter.

#include <string>
#include <vector>

#include "lib/base/result.h"

namespace slicer::netfilter {

struct BridgeLists {
  std::string bridge = {};
  std::string network = {};
  std::string policy = {};  ///< policy_id(); empty: none that judges
};

/// In table `inet slicer`. Error: kBusy (the ruleset changes all the time).
Result<std::vector<BridgeLists>> bridge_lists_in_nftables();
/// In the legacy tables that are there.
Result<std::vector<BridgeLists>> bridge_lists_in_legacy();

/// "slicer:NETWORK" without its beginning.
std::string network_of_mark(const std::string& mark);

}  // namespace slicer::netfilter
