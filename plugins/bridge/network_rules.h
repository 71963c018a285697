#pragma once
// What belongs to the whole network beside its bridge: masquerade, the set `bridges`, forwarding.

#include "lib/base/undo.h"
#include "lib/netfilter/isolation.h"
#include "plugins/bridge/bridge_device.h"

namespace slicer::bridge {

/// Makes the constant rules stand, and tells when another program took them; when they do, this writes nothing. Before
/// any link of the attachment is made, and the lock is held until that is: an ADD of the network that fails, and whose
/// rules these are, takes them back by `undo` where no link of it is there.
Result<netfilter::IsolationLock> ensure_network_rules(Call& call, const Bridge& bridge, const cni::CniResult& result,
                                                      Undo& undo);
/// The same for the forwarding sysctls of a gateway. Last, for nothing takes them back.
Result<void> ensure_forwarding(const Call& call, const cni::CniResult& result);

/// CHECK. Error: kMismatch.
Result<void> check_network_rules(Call& call, const Bridge& bridge, const cni::CniResult& result);

}  // namespace slicer::bridge
