#pragma once
// "bandwidth": how fast a guest may receive and send.

#include "plugins/bridge/guest_port.h"

namespace slicer::bridge {

/// Of a port in the host's namespace, whatever device it is: a bucket at the port for what goes to the guest, one at an
/// ifb for what comes from it. Nothing without a limit. Error: kUnsupportedKernel.
Result<void> limit_port(Call& call, int port, unsigned mtu_bytes, Undo& undo);
/// CHECK of the same. Error: kMismatch.
Result<void> check_port_limit(Call& call, const net::Link& port);
/// The ifb of this attachment in the host's namespace; absent, or a stranger's: success.
Result<void> delete_ifb(Call& call);

/// The two links of a private namespace between which tc redirects: each sends what the other receives, so that both
/// directions have a queue and no ifb is needed.
struct InnerPair {
  int tap = 0;
  int inner = 0;  ///< the namespace's end of the pair to the bridge
};
Result<void> limit_inside(Call& call, const InnerPair& pair, unsigned mtu_bytes);
/// CHECK of the same. Error: kMismatch.
Result<void> check_inside_limit(Call& call, const InnerPair& pair, unsigned mtu_bytes);

}  // namespace slicer::bridge
