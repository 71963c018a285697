#pragma once
// "bandwidth" of a TAP behind another plugin's interface: each of the two sends what the other receives, so that both
// directions have a queue.

#include "lib/base/undo.h"
#include "plugins/tap/call.h"

namespace slicer::tap {

struct Pair {
  int tap = 0;
  int followed = 0;
  unsigned mtu_bytes = 0;  ///< the TAP's
  bool adopted = false;    ///< from an earlier ADD, whose limits this one's replace
};
/// Nothing without a limit, but for a pair that may have had one. Behind the redirect, by which DEL knows the
/// interface. Errors: kExists (somebody chose a qdisc for one of the two), kUnsupportedKernel.
Result<void> limit_pair(Call& call, const Pair& pair, Undo& undo);
/// CHECK of the same. Error: kMismatch.
Result<void> check_limits(Call& call, const Pair& pair);

}  // namespace slicer::tap
