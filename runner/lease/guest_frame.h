#pragma once
// Ethernet frames that tell which addresses a guest has. Pure; every byte may be a stranger's.

#include <cstdint>
#include <optional>
#include <span>

#include "lib/addr/ip.h"
#include "lib/addr/mac.h"
#include "runner/lease/dhcp.h"

namespace slicer::runner {

/// Neighbour discovery (RFC 4861): what it says of its sender's addresses.
struct NeighbourNews {
  bool is_advertisement = false;
  std::optional<addr::Ip> source = {};  ///< absent: ::, duplicate address detection
  std::optional<addr::Ip> target = {};  ///< absent in a router solicitation
};

struct GuestFrame {
  addr::Mac source = {};
  std::optional<DhcpMessage> dhcp = {};
  std::optional<NeighbourNews> neighbour = {};
};

/// Empty: neither DHCP (IPv4, UDP 67 and 68, no fragment) nor a solicitation or advertisement (IPv6, hop limit 255), or
/// cut short. Checksums are not looked at: between virtual machines they are filled in by nobody.
std::optional<GuestFrame> parse_guest_frame(std::span<const uint8_t> frame);

}  // namespace slicer::runner
