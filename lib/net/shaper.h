#pragma once
// How fast a link may send and receive: a token bucket (sch_tbf) at its root qdisc for what it sends; for what it
// receives the same at an ifb, a link through which the received frames are led (there is no queue on that side).

#include <cstdint>
#include <string>

#include "lib/net/netlink.h"

namespace slicer::net {

/// A bucket of bytes, of whole frames with their Ethernet headers.
struct Bucket {
  uint64_t bytes_per_second = 0;  ///< never 0
  uint32_t burst_bytes = 0;       ///< at least a frame of the link: the kernel drops what is larger
};
/// Pure: with room for a frame of the link at least.
Bucket fit_bucket(Bucket bucket, unsigned mtu_bytes);

/// What the link sends. Errors: kExists (it has a qdisc that somebody chose), kUnsupportedKernel (no tbf).
Result<void> add_send_limit(RouteSocket& ns, int index, const Bucket& bucket);
/// The same where one of ours may stand already: it gets the new rate, and keeps its queue.
Result<void> ensure_send_limit(RouteSocket& ns, int index, const Bucket& bucket);
/// Whether that is exactly what stands there.
Result<bool> has_send_limit(RouteSocket& ns, int index, const Bucket& bucket);
/// One of ours; absent, or somebody else's, is success. It goes with its link, too.
Result<void> delete_send_limit(RouteSocket& ns, int index);

/// The ifb of one link.
struct IfbSpec {
  std::string name = {};
  std::string alias = {};
  uint32_t group = 0;
};
/// What the link receives: behind its guard (tc_guard.h) it goes through the ifb, which is made, and on as before. The
/// filter goes with the link, the ifb does not. Frames then pass no nft hook of kind netdev ingress. @return the ifb's
/// index. Errors: kExists (the name), kUnsupportedKernel (no ifb, tbf, clsact, cls_bpf or mirred).
Result<int> add_receive_limit(RouteSocket& ns, int index, const IfbSpec& ifb, const Bucket& bucket);
/// Whether that is exactly what stands there.
Result<bool> has_receive_limit(RouteSocket& ns, int index, const std::string& ifb, const Bucket& bucket);

}  // namespace slicer::net
