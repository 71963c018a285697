#pragma once
// The macvtap itself.

#include "lib/base/undo.h"
#include "lib/net/link.h"
#include "plugins/macvtap/call.h"

namespace slicer::macvtap {

/// Before anything is made: a name in use is the caller's commonest mistake. Error: kExists.
Result<void> refuse_name_in_use(Call& call);

/// Makes it in CNI_NETNS, complete and up but for the guard. @return as the kernel has it. Errors: kExists (name, or
/// MAC on this parent), kBusy (the parent is taken).
Result<net::Link> add_device(Call& call, const net::Link& parent, Undo& undo);

/// Only the guest's own frames pass, as macspoofchk and ipspoofchk say.
Result<void> guard_device(Call& call, const net::Link& device, const GuestPlan& guest);

/// CHECK. Error: kMismatch.
Result<void> check_device(Call& call, const GuestPlan& guest);

/// GC: those of the network in all namespaces that are bound to a name whose attachment is not in the list. (One in
/// another namespace goes with that.)
Result<void> delete_stale_devices(const std::string& network, const std::vector<cni::ValidAttachment>& valid);

/// Deletes it where it is this attachment's; absent, or somebody else's, is success.
Result<void> delete_device(Call& call);

}  // namespace slicer::macvtap
