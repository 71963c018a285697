#pragma once
// The LAN interface that macvtaps stand on.

#include "lib/net/link.h"
#include "plugins/macvtap/call.h"

namespace slicer::macvtap {

/// "parent", or the interface of the default route, IPv4 first. Checked: up, Ethernet, not wireless, nobody's port, and
/// with an MTU that the configuration's fits in. Errors: kNotFound (no such link, no default route), kBusy (down),
/// kInvalidConfig.
Result<net::Link> find_parent(Call& call);

}  // namespace slicer::macvtap
