#pragma once
// Anti-spoofing: one classic-BPF filter on a TAP's clsact ingress, or a macvtap's egress. It dies with the device and
// needs no nft.

#include <cstdint>
#include <vector>

#include "lib/addr/ip.h"
#include "lib/addr/mac.h"
#include "lib/net/netlink.h"

namespace slicer::net {

/// Whose frames may pass. Always: the source MAC is `mac` and the frame is IPv4, IPv6 or ARP.
///
/// With check_sources also: the IPv4 or IPv6 source and the ARP sender (MAC and address) are the guest's; what it
/// advertises by neighbour discovery is its own address with its own MAC; it sends no router advertisements, no
/// redirects and no answers of a DHCP server (UDP to 68, to 546). Its own are `sources` and the link-local address that
/// its MAC makes (EUI-64; a guest that uses another one, as RFC 7217's, has it listed in `sources`). Beside them pass:
/// 0.0.0.0 as the source of DHCP (UDP 68 to 67) and as the sender of an ARP request (a probe); :: as the source of
/// duplicate address detection for an own address, of router solicitations and of multicast listener reports.
struct GuardSpec {
  addr::Mac mac = {};
  std::vector<addr::Ip> sources = {};  ///< of either family; a family without any is closed but for the above
  bool check_sources = true;           ///< false: the guest's addresses come from a DHCP server we do not know
  bool allow_vlan_tags = false;        ///< for ports with tagged VLANs
  bool ipv4_only = false;              ///< IPv4 and ARP, no IPv6 at all; it is routed, no other machine is on its link
  bool egress = false;                 ///< a macvtap, which *sends* what its guest sends; a TAP receives it
};

/// One classic BPF instruction (struct sock_filter).
struct BpfInstruction {
  uint16_t code = 0;
  uint8_t jump_true = 0;
  uint8_t jump_false = 0;
  uint32_t k = 0;
  friend bool operator==(const BpfInstruction&, const BpfInstruction&) = default;
};
/// The verdicts the program returns (TC_ACT_UNSPEC: on to the next filter; TC_ACT_SHOT: drop).
inline constexpr uint32_t kGuardPass = 0xffffffff;
inline constexpr uint32_t kGuardDrop = 2;

/// Pure. Error: kInvalidConfig when there are more sources than a program holds (about 100).
Result<std::vector<BpfInstruction>> build_guard(const GuardSpec& spec);

/// Makes or replaces the guard of a link, with its clsact qdisc. Beside it stands the filter of checksum_program.h
/// where the kernel takes it (Linux 5.8, CAP_BPF). Error: kUnsupportedKernel (no clsact or cls_bpf).
Result<void> ensure_guard(RouteSocket& ns, int index, const GuardSpec& spec);
/// Whether the link has exactly the guard that `spec` makes.
Result<bool> has_guard(RouteSocket& ns, int index, const GuardSpec& spec);
/// Whether the kernel took the filter beside the guard, on the ingress.
Result<bool> has_checksum_filter(RouteSocket& ns, int index);
/// That on the ingress; absent is success.
Result<void> delete_guard(RouteSocket& ns, int index);

}  // namespace slicer::net
