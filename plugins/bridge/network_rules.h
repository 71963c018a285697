#pragma once
// What belongs to the whole network beside its bridge: masquerade, the set `bridges`, forwarding.

#include "lib/base/undo.h"
#include "plugins/bridge/bridge_device.h"

namespace slicer::bridge {

/// Undo only: the rules of a network whose bridge this call made, as long as no other call uses it. Right behind
/// ensure_bridge(), so that this runs when the call's own ports, the guest's and a VLAN gateway's, are gone again.
void undo_network_rules(Call& call, const Bridge& bridge, Undo& undo);

/// Makes the constant rules stand, and tells when another program took them; when they do, this writes nothing. Before
/// any link of the attachment is made.
Result<void> ensure_network_rules(Call& call, const Bridge& bridge, const cni::CniResult& result);
/// The same for the forwarding sysctls of a gateway. Last, for nothing takes them back.
Result<void> ensure_forwarding(const Call& call, const cni::CniResult& result);

/// CHECK. Error: kMismatch.
Result<void> check_network_rules(Call& call, const Bridge& bridge, const cni::CniResult& result);

}  // namespace slicer::bridge
