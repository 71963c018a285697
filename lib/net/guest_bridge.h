#pragma once
// Links by which packets of the host reach VMs on bridges, as far as the kernel itself tells it: for a firewall that
// somebody emptied.

#include <string>
#include <string_view>
#include <vector>

#include "lib/net/link.h"

namespace slicer::net {

/// A bridge, or the gateway BRIDGE.VID of a VLAN on it.
struct GuestBridge {
  std::string link = {};
  std::string network = {};  ///< empty: only neighbour entries say that it is ours
  bool has_guests = false;   ///< false: its alias alone says that it is ours
};

/// Bridges that have the alias of a network, a port of an attachment or neighbour entries of ours (neighbour.h), and
/// VLAN gateways on them of which one of the last two is true. A bridge whose VMs are all in VLANs with a gateway is
/// none: that gateway is the way to them, and the bridge itself may be the host's way out. Bridges that an upstream
/// plugin made are found by neighbour entries alone. `prefix`: of aliases, "slicer:". A dump of all links.
Result<std::vector<GuestBridge>> list_guest_bridges(RouteSocket& ns, std::string_view prefix);

}  // namespace slicer::net
