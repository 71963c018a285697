#pragma once
// A packet that a rule told of by NFLOG, as nfnetlink_log sends it. Pure: bytes in, values out.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "lib/addr/ip.h"
#include "lib/addr/mac.h"
#include "lib/base/result.h"

namespace slicer::netfilter {

struct LoggedPacket {
  std::string prefix = {};                   ///< the rule's: log_prefix() of a network
  std::optional<addr::Mac> source_mac = {};  ///< where the packet came in by an Ethernet device
  uint16_t ethertype = 0;                    ///< of what follows; the rest is only of IPv4 and IPv6
  std::optional<addr::Ip> source = {};
  std::optional<addr::Ip> destination = {};
  uint8_t protocol = 0;                                     ///< IANA's number; of IPv6, behind the extension headers
  bool fragment = false;                                    ///< not the first: it has no ports
  std::optional<std::pair<uint16_t, uint16_t>> ports = {};  ///< from, to; TCP, UDP, SCTP, DCCP, UDP-Lite
  std::optional<uint8_t> icmp_type = {};                    ///< of ICMP and ICMPv6
  friend bool operator==(const LoggedPacket&, const LoggedPacket&) = default;
};

/// `message`: one netlink message with its header. What is cut off or unknown stays empty: the packet is the guest's
/// own making. Error: kDecode (not a packet of nfnetlink_log).
Result<LoggedPacket> parse_logged_packet(std::span<const uint8_t> message);

/// "tcp 192.0.2.2:4711 -> 198.51.100.7:22", "icmp type 8 …", "ethertype 0x88cc"
std::string packet_text(const LoggedPacket& packet);

}  // namespace slicer::netfilter
