#pragma once
// The bridge of a network: made once, used by all its attachments.

#include "lib/base/undo.h"
#include "lib/net/link.h"
#include "plugins/bridge/call.h"

namespace slicer::bridge {

struct Bridge {
  int index = 0;
  int gateway_index = 0;  ///< the link of the gateway's addresses: the bridge, or its VLAN's link
  addr::Mac mac = {};
  unsigned mtu_bytes = 0;
  bool created = false;  ///< by this call
};

/// Finds the bridge, or makes it: its MAC (stable, from machine id and names) in the creating message, no STP, no
/// forward delay. One that others made is used as it is, but for being up and what a key asks for (promiscMode, VLAN
/// filtering). Errors: kExists (the name is a link of another kind), kUnsupportedKernel (VLAN keys).
/// Undo: a bridge that this call made goes, unless another call has put a port on it meanwhile.
Result<Bridge> ensure_bridge(Call& call, Undo& undo);

/// On a link of ours that is the host's way to the guests: a guest could give the host a default route.
Result<void> refuse_router_advertisements(const std::string& link);

/// CHECK. Errors: kMismatch (absent, no bridge, down).
Result<Bridge> check_bridge(Call& call);

/// STATUS: the name is free, or a bridge. Error: kExists.
Result<void> check_bridge_name(Call& call);

}  // namespace slicer::bridge
