#pragma once
// A container's interface that upstream's bridge plugin made before slicer-bridge took its place in the conflist. No
// name, alias or group of ours tells of it; the runtime's prevResult does.

#include <optional>

#include "lib/net/link.h"
#include "plugins/bridge/call.h"

namespace slicer::bridge {

struct TakenOver {
  int inside = 0;           ///< index of the container's end, in the sandbox
  net::Link host_end = {};  ///< the port of the bridge
};

/// None unless everything agrees: prevResult names both ends, the container's has the MAC that it says, the kernel says
/// that each is the other's peer, and neither bears a mark of ours. So a stranger's link is never taken for it.
Result<std::optional<TakenOver>> find_taken_over(Call& call, const cni::CniResult& previous);

/// DEL. None is success; nothing is asked but for a container with prevResult.
Result<void> delete_taken_over(Call& call);

}  // namespace slicer::bridge
