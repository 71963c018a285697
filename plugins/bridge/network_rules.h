#pragma once
// What belongs to the whole network beside its bridge: masquerade, the set `bridges`, forwarding.

#include "lib/base/undo.h"
#include "plugins/bridge/bridge_device.h"

namespace slicer::bridge {

/// Makes the constant rules and the forwarding sysctls stand; when they do, this writes nothing.
/// Undo: the rules of a network whose bridge this call made, as long as no other call uses it.
Result<void> ensure_network_rules(Call& call, const Bridge& bridge, const cni::CniResult& result, Undo& undo);

/// CHECK. Error: kMismatch.
Result<void> check_network_rules(Call& call, const cni::CniResult& result);

}  // namespace slicer::bridge
