#pragma once
// "device": "veth": the namespace gets a container's interface with addresses and routes, as upstream's bridge gives.

#include "plugins/bridge/guest_port.h"

namespace slicer::bridge {

/// Makes the pair, and gives CNI_IFNAME the planned addresses and routes (or leaves it down, with
/// disableContainerInterface). Errors: kExists (CNI_IFNAME is in use), kExhausted, kBusy (enabledad: an address is not
/// usable in time), kSystem.
Result<Attached> add_container_veth(Call& call, const Bridge& bridge, const GuestPlan& guest,
                                    const cni::CniResult& planned, Undo& undo);

/// CHECK against prevResult's addresses and routes. Error: kMismatch.
Result<void> check_container_veth(Call& call, const Bridge& bridge, const GuestPlan& guest,
                                  const cni::CniResult& previous);

}  // namespace slicer::bridge
