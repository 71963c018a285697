#pragma once
// A TAP that tc-redirect-tap made before slicer-tap took its place in the conflist. No alias or group of ours tells of
// it; the runtime's prevResult names it, and the kernel's filters say what it stands for.

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

/// DEL. None is success; nothing is asked without a prevResult.
Result<void> delete_taken_over(Call& call);

}  // namespace slicer::tap
