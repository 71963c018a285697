#pragma once
// The private namespace: TAP with the block's gateway address, the uplink without address, the table between them.

#include "lib/base/undo.h"
#include "plugins/isolated/host_side.h"

namespace slicer::isolated {

/// Before anything is made: a name in use is the caller's commonest mistake, a namespace that has a way out already the
/// next one. Error: kExists.
Result<void> refuse_occupied(Call& call);

/// Everything in the namespace, the rules before the TAP: there is no moment with a TAP and without them. Undo: what
/// does not go with the pair of links. Errors: kExists (the namespace has a default route already), kUnsupportedKernel.
Result<void> add_guest_side(Call& call, const HostEnd& end, const GuestPlan& guest, Undo& undo);

/// CHECK. Error: kMismatch.
Result<void> check_guest_side(Call& call, const HostEnd& end, const GuestPlan& guest);

/// The table in the namespace; links first, since a deletion in nf_tables slows theirs down. Absent is success.
Result<void> remove_rules(Call& call);
/// GC: the tables of attachments of the network that are not in `valid`, in all namespaces that are bound to a name.
Result<void> remove_stale_rules(const std::string& network, const std::vector<cni::Attachment>& valid);

}  // namespace slicer::isolated
