#pragma once
// "bandwidth": how fast the VM may receive and send. The namespace's two links stand one behind the other, and all of
// the VM's traffic passes both: each limits what it sends, and both go with the attachment.

#include "lib/net/link.h"
#include "plugins/isolated/call.h"

namespace slicer::isolated {

/// Of the TAP: towards the VM. Nothing without a limit. Error: kUnsupportedKernel.
Result<void> limit_ingress(Call& call, int tap);
/// Of the uplink: from it.
Result<void> limit_egress(Call& call, int uplink);

/// CHECK of the same. Error: kMismatch.
Result<void> check_ingress_limit(Call& call, int tap);
Result<void> check_egress_limit(Call& call, int uplink);

}  // namespace slicer::isolated
