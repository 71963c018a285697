#pragma once
// What a DEL by other plugins than ours leaves of an attachment on a bridge: they remove its link and know of nothing
// else (a network that went back to upstream's plugins: docs/interop.md).

#include <string>
#include <vector>

#include "lib/base/result.h"

namespace slicer::runner {

/// Permanent neighbour entries of ours on a bridge: without its guest's port one leads whoever gets the address next to
/// a MAC that nobody has.
struct DeadNeighbours {
  std::string bridge = {};
  unsigned count = 0;
};

/// On all bridges of the host; those that had any. Error: kSystem.
Result<std::vector<DeadNeighbours>> remove_dead_neighbours();

/// Devices of "bandwidth" whose port is gone; their names. Error: kSystem.
Result<std::vector<std::string>> remove_portless_ifbs();

}  // namespace slicer::runner
