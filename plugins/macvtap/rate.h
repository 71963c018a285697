#pragma once
// "bandwidth": how fast the VM may receive and send. A macvtap sends what comes from its VM: there the bucket stands at
// the device itself, and that for what goes to the VM at an ifb beside it.

#include "lib/base/undo.h"
#include "lib/net/link.h"
#include "plugins/macvtap/call.h"

namespace slicer::macvtap {

/// Nothing without a limit. Error: kUnsupportedKernel.
Result<void> limit_device(Call& call, const net::Link& device, Undo& undo);
/// CHECK of the same. Error: kMismatch.
Result<void> check_limit(Call& call, const net::Link& device);

/// DEL: this attachment's ifb. Absent is success.
Result<void> delete_ifb(Call& call);
/// Whether a link is the ifb of some attachment of the network, or of this one.
bool is_ifb_of(const net::Link& link, const std::string& network);
bool is_ifb_of(const net::Link& link, const cni::Attachment& attachment);

}  // namespace slicer::macvtap
