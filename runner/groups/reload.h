#pragma once
// Edited drop and allow lists for the VMs that run.

#include <functional>
#include <string>

#include "lib/base/result.h"
#include "runner/chain/cache.h"
#include "runner/chain/conflist.h"
#include "runner/settings.h"

namespace slicer::runner {

struct Reloaded {
  unsigned done = 0;
  unsigned failed = 0;  ///< told on stderr
};

/// Gives every attachment of the network, VM or not, the lists of `network`: slicer-firewall's ADD again, in one
/// transaction each. Before that slicer-bridge's and slicer-isolated's, as the attachment was added: what belongs to
/// the network (masquerade, isolation) comes back when another program took it. Prints a line for each. Error: kSystem
/// (who is attached cannot be found out).
Result<Reloaded> reload_lists(const Settings& settings, const chain::Conflist& network);

/// The same for all networks that somebody is attached to. `find` says what a network's list is now; where it fails,
/// the list of each attachment's ADD is used.
using FindNetwork = std::function<Result<chain::Conflist>(const std::string& name)>;
Result<Reloaded> reload_all(const Settings& settings, const FindNetwork& find);

/// The plugins of an attachment that have rules on the host which can be put back or checked alone: of ours, as it was
/// added, but for slicer-firewall, which is the one of `now`. Empty: none. Errors: as chain::network_of().
Result<chain::Conflist> plugins_with_rules(const chain::CacheEntry& entry, const chain::Conflist& now,
                                           const std::string& conf_dir);

}  // namespace slicer::runner
