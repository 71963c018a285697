#pragma once
// A TAP that is first in its chain: upstream tap's work, the namespace has an end of its own with addresses.

#include "plugins/tap/call.h"

namespace slicer::tap {

/// Errors: kExists (the name is in use), kNotFound (no such bridge in the namespace), kUnsupportedField (a limited
/// rate); make_tap()'s and IPAM's.
Result<cni::CniResult> add_plain(Call& call);

/// The TAP that `previous` lists as its `entry`-th interface; upstream's tap may have made it. Error: kMismatch;
/// IPAM's.
Result<void> check_plain(Call& call, const cni::CniResult& previous, int entry);

}  // namespace slicer::tap
