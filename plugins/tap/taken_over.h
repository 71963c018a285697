#pragma once
// A TAP that tc-redirect-tap or upstream's tap made before slicer-tap took its place in the conflist. No alias or group
// of ours tells of it; the runtime's prevResult names it, and the kernel's filters or the MAC say that it is that one.

#include <optional>

#include "plugins/tap/call.h"

namespace slicer::tap {

struct TakenOver {
  std::optional<net::Link> tap = {};       ///< absent: somebody deleted it, and its redirect is left
  std::optional<net::Link> followed = {};  ///< CNI_IFNAME; absent: it is gone
};

/// None unless prevResult names a TAP for this container beside CNI_IFNAME, that TAP bears no mark of anybody, and a
/// u32 redirect joins the two (or leads to a link that is gone). So a stranger's TAP is never taken for it.
Result<std::optional<TakenOver>> find_taken_over(Call& call, const cni::CniResult& previous);

/// The name of a link that tc-redirect-tap, or a program that does as it does, redirects `followed` to; empty: none.
Result<std::string> foreign_target(Call& call, const net::Link& followed);

/// Makes it ours: the alias and the group that DEL and GC know it by. The redirects stay as they are until
/// drop_foreign_redirects(). @return the TAP as it is then
Result<net::Link> mark_taken_over(Call& call, const net::Link& tap);
/// Behind ours they pass nothing on any more.
Result<void> drop_foreign_redirects(Call& call, const net::Link& followed, const net::Link& tap);

/// Both redirects, as tc-redirect-tap's own CHECK looks for them. Error: kMismatch.
Result<void> check_foreign_redirects(Call& call, const net::Link& followed, const net::Link& tap);

struct UpstreamsTap {
  net::Link tap = {};
  int entry = 0;  ///< of prevResult's interfaces
};
/// A plain TAP of upstream's tap: prevResult names CNI_IFNAME in this namespace and no VM's end, and a TAP of that name
/// bears no mark of anybody and has that MAC.
Result<std::optional<UpstreamsTap>> find_upstreams_tap(Call& call, const cni::CniResult& previous);

/// DEL, of either kind. None is success; nothing is asked without a prevResult.
Result<void> delete_taken_over(Call& call);

}  // namespace slicer::tap
