#pragma once
// tc redirect between two links of one namespace: what one receives the other sends.

#include "lib/net/netlink.h"

namespace slicer::net {

/// Everything that `a` receives leaves by `b`, and the other way round, both in one send. The filters stand behind a
/// guard (tc_guard.h) on the same link. Errors: kUnsupportedKernel (no clsact, no classifier, no mirred), kNotFound.
Result<void> ensure_redirect_pair(RouteSocket& ns, int a, int b);
/// Whether `from` redirects to `to`.
Result<bool> has_redirect(RouteSocket& ns, int from, int to);
/// Removes the redirect of one link; absent is success. (It also dies with either link.)
Result<void> delete_redirect(RouteSocket& ns, int from);

}  // namespace slicer::net
