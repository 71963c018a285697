#pragma once
// Anti-spoofing: one classic-BPF filter on a TAP's clsact ingress. It dies with the device and needs no nft.

#include <cstdint>
#include <vector>

#include "lib/addr/ip.h"
#include "lib/addr/mac.h"
#include "lib/net/netlink.h"

namespace slicer::net {

/// Whose frames may pass. Always: the source MAC is `mac` (in ARP and in neighbour discovery's link-layer options too),
/// and the frame is IPv4, IPv6 or ARP without a VLAN tag.
struct GuardSpec {
  addr::Mac mac = {};
  /// Addresses the guest may use, of either family. A family without any is closed, but for what follows.
  std::vector<addr::Ip> sources = {};
  /// false: only MAC and ethertype are checked (the guest's address comes from a DHCP server we do not know).
  bool check_sources = true;
};
// With check_sources these pass too: IPv4 0.0.0.0 as the source of DHCP (UDP 68 to 67) and as an ARP probe's sender for
// an own address; IPv6 any fe80::/64 source of neighbour discovery and other traffic only as the EUI-64 address of
// `mac` or an address in `sources`; `::` for duplicate address detection and MLD reports.

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

/// Makes or replaces the guard of a link, with its clsact qdisc. Error: kUnsupportedKernel (no clsact or cls_bpf).
Result<void> ensure_guard(RouteSocket& ns, int index, const GuardSpec& spec);
/// Whether the link has exactly the guard that `spec` makes.
Result<bool> has_guard(RouteSocket& ns, int index, const GuardSpec& spec);
/// Absent is success.
Result<void> delete_guard(RouteSocket& ns, int index);

}  // namespace slicer::net
