#pragma once
// The gateway of an access VLAN: a link of the host into that VLAN, "<bridge>.<vlan>", as upstream's bridge makes it.

#include "plugins/bridge/bridge_device.h"

namespace slicer::bridge {

/// "slicer0.10"
std::string vlan_gateway_name(const Config& config);

/// Where the gateway's addresses are, and where the host's traffic to and from the VMs passes: that or the bridge.
std::string gateway_link(const Config& config);

/// With `vlan` and isGateway: makes the link where it is absent (one end of a veth pair whose other end is an access
/// port), and lets `bridge` name it as the link of the gateway's addresses. Else nothing. Undo: as ensure_bridge().
Result<void> ensure_vlan_gateway(Call& call, Bridge& bridge, Undo& undo);

/// CHECK of the same. Error: kMismatch.
Result<void> check_vlan_gateway(Call& call, Bridge& bridge);

}  // namespace slicer::bridge
