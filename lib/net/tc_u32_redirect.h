#pragma once
// A redirect as tc-redirect-tap makes it: a u32 filter on the `ingress` qdisc of a link, of a priority that the kernel
// chose. Ours (tc_redirect.h) are classic BPF of a fixed priority, which comes before.

#include <cstdint>
#include <optional>

#include "lib/net/netlink.h"

namespace slicer::net {

struct U32Redirect {
  uint16_t priority = 0;
  int target = 0;  ///< index of the link that it sends to; 0: that one is gone
};
/// The first one on what a link receives. None: no such filter, or no such link.
Result<std::optional<U32Redirect>> find_u32_redirect(RouteSocket& ns, int from);
/// Removes it, and the `ingress` qdisc when no filter is left on it; absent is success.
Result<void> delete_u32_redirect(RouteSocket& ns, int from);

}  // namespace slicer::net
