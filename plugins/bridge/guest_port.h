#pragma once
// A guest's port of the bridge, whatever device it is: its flags, what makes the guest reachable from the first packet
// on, and the filter against spoofing.

#include "lib/base/undo.h"
#include "plugins/bridge/bridge_device.h"

namespace slicer::bridge {

/// Flags, VLANs, static FDB entry and permanent neighbour entries of `port`. A container's MAC may change later (the
/// tuning plugin): it gets the entries only with macspoofchk. Error: kExists when the MAC that the call asks for is
/// another port's, or an address another guest's.
Result<void> attach_guest(Call& call, const Bridge& bridge, int port, const GuestPlan& guest, Undo& undo);
/// `port` carries the configuration's `vlan` untagged: one that leads to the host, which no trunk concerns.
Result<void> set_access_vlan(Call& call, int port);
/// CHECK of the same. Error: kMismatch.
Result<void> check_guest(Call& call, const Bridge& bridge, int port, const GuestPlan& guest);

/// The filter on `index`, the link that receives the guest's frames; nothing when macspoofchk is off.
Result<void> guard_guest(net::RouteSocket& ns, int index, const Config& config, const GuestPlan& guest);
/// CHECK of the same. Error: kMismatch.
Result<void> check_guard(net::RouteSocket& ns, const net::Link& link, const Config& config, const GuestPlan& guest);

}  // namespace slicer::bridge
