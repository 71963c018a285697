#pragma once
// Private to lib/net: a guest cannot have the host rewrite a frame behind the filters.
//
// A TAP's virtio-net header may leave one checksum to the host: "sum all from csum_start on, write the two bytes at
// csum_start + csum_offset" (virtio 1.2, section 5.1.6.2). The kernel takes any place (include/linux/virtio_net.h), and
// the writing is done by the network card, or by skb_checksum_help() before a link without offload: behind every
// filter. By it a guest could turn the sender of an ARP frame, an IPv6 address, a port or an ICMPv6 type that all
// filters have passed into another one.
//
// So a second program stands beside the guard. No program may read csum_start, but two helpers tell enough of it:
// bpf_csum_level() changes the level of a frame that has its checksum, and not that of one that has not;
// bpf_skb_change_tail() refuses to cut a frame off before the end of a checksum that is still to be written
// (net/core/filter.c, __bpf_skb_min_len()). A frame whose checksum lies where its protocol has it, or behind, passes:
// what lies behind it no filter looks at.

#include <optional>

#include "lib/base/unique_fd.h"

namespace slicer::net {

/// What the filter is called (TCA_BPF_NAME).
inline constexpr const char* kChecksumFilter = "slicer-checksum";

/// The program in the kernel. None where it cannot be loaded: before Linux 5.8, or without CAP_BPF.
std::optional<UniqueFd> load_checksum_program();

}  // namespace slicer::net
