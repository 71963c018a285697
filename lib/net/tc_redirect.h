#pragma once
// tc redirect between two links of one namespace: what one receives the other sends.

#include <optional>

#include "lib/net/netlink.h"

namespace slicer::net {

/// Everything that `a` receives leaves by `b`, and the other way round, both in one send. The filters stand behind a
/// guard (tc_guard.h) on the same link. Errors: kUnsupportedKernel (no clsact, no classifier, no mirred), kNotFound.
Result<void> ensure_redirect_pair(RouteSocket& ns, int a, int b);
/// Whether `from` redirects to `to`.
Result<bool> has_redirect(RouteSocket& ns, int from, int to);

/// The filter that stands at a redirect's place on a link.
struct Redirect {
  /// Index of the link that it sends to; 0: that one is gone (the kernel then drops what matches). Absent: it is no
  /// redirect, so somebody else's.
  std::optional<int> target = {};
};
/// None: no filter there, or no such link.
Result<std::optional<Redirect>> find_redirect(RouteSocket& ns, int from);
/// Removes the redirect of one link, and the clsact qdisc when no filter is left on it; absent is success. (It dies
/// with its link, too; not with the link that it sends to.)
Result<void> delete_redirect(RouteSocket& ns, int from);

/// Everything that `index` receives goes by way of the ifb `ifb`, and from there on as if `index` had received it.
/// Behind a guard, too, and beside no redirect. Errors: as those of ensure_redirect_pair().
Result<void> ensure_detour(RouteSocket& ns, int index, int ifb);
/// Whether it does.
Result<bool> has_detour(RouteSocket& ns, int index, int ifb);

}  // namespace slicer::net
