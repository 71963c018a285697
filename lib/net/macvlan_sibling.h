#pragma once
// A macvlan beside a guest's macvtap: the host's way to a guest that it cannot reach by its own interface of that LAN.

#include "lib/net/link.h"
#include "lib/net/netlink.h"
#include "lib/net/netns.h"

namespace slicer::net {

/// Makes, where it is not there yet, a macvlan on the parent of `macvtap` in that one's namespace, up, with a
/// link-local IPv6 address and no other: it obeys no router advertisement and asks nobody. It has the macvtap's group,
/// so that whatever deletes the attachment's links by their group deletes it too, and goes with the namespace. May be
/// called by several processes at once. @return its index. Errors: kUnavailable (the macvtap is no device that shares
/// its parent: modes vepa, private and passthru; the parent is gone), kUnsupportedKernel (no macvlan, or no IPv6),
/// kSystem.
Result<int> ensure_macvlan_sibling(RouteSocket& session, const Netns& ns, const Link& macvtap);

}  // namespace slicer::net
