#pragma once
// The host's side: the veth pair's end without address, the guest's route and neighbour, and what all isolated networks
// share.

#include "lib/base/undo.h"
#include "lib/net/link.h"
#include "plugins/isolated/call.h"

namespace slicer::isolated {

struct HostEnd {
  int index = 0;
  addr::Mac mac = {};
};

/// What holds for every isolated VM of the host stands before any of them has a link. Writes nothing when it does.
Result<void> ensure_host_rules(Call& call, netfilter::IsolationLock& lock);
/// Masquerade of the range and forwarding. Writes nothing when they stand.
Result<void> ensure_network_rules(Call& call, const addr::Cidr& range);

/// Makes the pair, both ends in their namespaces; the one in the private namespace is down. Errors: kExists,
/// kExhausted.
Result<HostEnd> add_host_end(Call& call, Undo& undo);
/// The guest's route. False: there is a route to this address already.
Result<bool> claim_guest_route(Call& call, const HostEnd& end, const addr::Ip& guest);
/// The neighbour entry that goes with it.
Result<void> add_guest_neighbour(Call& call, const HostEnd& end, const addr::Ip& guest);

/// CHECK. Error: kMismatch.
Result<HostEnd> check_host_side(Call& call, const GuestPlan& guest);
Result<void> check_rules(Call& call, const addr::Cidr& range);

/// DEL without CNI_NETNS: opens the namespace behind the host's end, when it is bound to a name, so that nothing in it
/// is left. Without one, links are still reached.
Result<void> find_sandbox(Call& call);
/// All links of the attachment, by CNI_NETNS where that is there, else through the host's end. None is success.
Result<void> delete_links(Call& call);
/// The same for any attachment of the network (GC), known by the host's end.
Result<void> delete_pair(net::RouteSocket& host, const net::Link& host_end, std::optional<uint32_t> group);

}  // namespace slicer::isolated
