#pragma once
// Edited drop and allow lists for the VMs that run.

#include "lib/base/result.h"
#include "runner/chain/conflist.h"
#include "runner/settings.h"

namespace slicer::runner {

struct Reloaded {
  unsigned done = 0;
  unsigned failed = 0;  ///< told on stderr
};

/// Gives every attachment of the network, VM or not, the lists of `network`: slicer-firewall's ADD again, in one
/// transaction each. Prints a line for each. Error: kSystem (who is attached cannot be found out).
Result<Reloaded> reload_lists(const Settings& settings, const chain::Conflist& network);

}  // namespace slicer::runner
