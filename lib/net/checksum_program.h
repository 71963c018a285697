#pragma once
// Private to lib/net: what a guest may leave to the host to finish.
//
// A TAP's virtio-net header may leave one checksum to the host: "sum all from csum_start on, write the two bytes at
// csum_start + csum_offset" (virtio 1.2, section 5.1.6.2). The kernel takes any place (include/linux/virtio_net.h), and
// the writing is done by the network card, or by skb_checksum_help() before a link without offload: behind every
// filter. By it a guest could turn the sender of an ARP frame that all filters have passed into another one.
//
// So a second program stands beside the guard. It passes frames that are finished; of the others IP that is no
// fragment, and neither ICMP, ICMPv6 nor IGMP: those that systems leave unfinished are TCP, UDP and SCTP, or tunnels
// with one of them. No program may read csum_start, so in these the place is not looked at. (The helper
// bpf_skb_change_tail() refuses to cut a frame off before the place: in Linux 6.18 before its end, in Debian's 6.1
// before csum_start. It is no contract.)
//
// bpf_csum_level() tells the two apart: it gives a level to a frame that has its checksum, and not to one that has not.

#include <optional>

#include "lib/base/unique_fd.h"

namespace slicer::net {

/// What the filter is called (TCA_BPF_NAME).
inline constexpr const char* kChecksumFilter = "slicer-checksum";

/// The program in the kernel. None where it cannot be loaded: before Linux 5.8, or without CAP_BPF.
std::optional<UniqueFd> load_checksum_program();

}  // namespace slicer::net
