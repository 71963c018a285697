#pragma once
// A TAP behind another plugin's interface: what the one receives the other sends.

#include "plugins/tap/call.h"

namespace slicer::tap {

/// Makes what is missing: a second time changes nothing. Errors: kNotFound (no interface CNI_IFNAME), kExists (the
/// TAP's name, or a redirect of somebody else's, is in the way), kDuplicate (the attachment has a TAP already that is
/// not the one asked for), kInvalidConfig, kUnsupportedField, kUnsupportedKernel, kBusy.
Result<cni::CniResult> add_chained(Call& call, const cni::CniResult& previous);

/// `pair`: that of `previous`. Error: kMismatch.
Result<void> check_chained(Call& call, const cni::CniResult& previous, const cni::GuestInterface& pair);

/// The redirects to the TAPs first, then these. Absent is success.
Result<void> delete_chained(net::RouteSocket& routes, const std::vector<net::Link>& taps,
                            const std::vector<net::Link>& sources);

}  // namespace slicer::tap
