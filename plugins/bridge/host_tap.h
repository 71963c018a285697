#pragma once
// Placement in the host's namespace: the TAP is a port of the bridge itself.

#include "plugins/bridge/guest_port.h"

namespace slicer::bridge {

/// Errors: kExists (the name is in use), kExhausted (the bridge has 1,023 ports), kUnsupportedKernel.
Result<Attached> add_host_tap(Call& call, const Bridge& bridge, const GuestPlan& guest, Undo& undo);

/// CHECK. Error: kMismatch.
Result<void> check_host_tap(Call& call, const Bridge& bridge, const GuestPlan& guest);

/// The link named CNI_IFNAME in the host's namespace, if its alias says that it is this attachment's. Absent, or a
/// stranger's: success.
Result<void> delete_host_tap(Call& call);

/// The result's two entries of one TAP (docs/contract.md, point 1).
void append_tap_entries(Attached& attached, const Call& call, const cni::Interface& tap, const GuestPlan& guest);

/// CHECK of what both placements have: kind, alias, owner, up, MTU. Error: kMismatch.
Result<void> check_tap_link(const Call& call, const net::Link& link);

}  // namespace slicer::bridge
