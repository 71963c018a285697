#pragma once
// Placement in a private namespace: a veth pair brings the bridge to it, tc redirects between veth and TAP.

#include "plugins/bridge/host_tap.h"

namespace slicer::bridge {

/// Errors: kExists (a name is in use), kExhausted (the bridge is full), kUnsupportedKernel.
Result<Attached> add_private_tap(Call& call, const Bridge& bridge, const GuestPlan& guest, Undo& undo);

/// CHECK. Error: kMismatch.
Result<void> check_private_tap(Call& call, const Bridge& bridge, const GuestPlan& guest);

}  // namespace slicer::bridge
