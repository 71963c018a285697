#include "lib/netfilter/logged_packet.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netlink.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace slicer::netfilter {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr uint16_t kIpv4Type = 0x0800;
constexpr uint16_t kIpv6Type = 0x86dd;
constexpr size_t kEthernetHeader = 14;
constexpr size_t kMacSize = 6;
// linux/netfilter.h: enum nf_dev_hooks.
constexpr uint8_t kEgressHook = 1;
// A chain of extension headers longer than this is nobody's but an attacker's.
constexpr int kMaxExtensions = 8;

uint16_t be16(Bytes bytes, size_t at) { return static_cast<uint16_t>(bytes[at] << 8 | bytes[at + 1]); }

/// Calls `take(type, value)` for each attribute; stops at the first that does not fit.
template <class Take>
void each_attribute(Bytes bytes, const Take& take) {
  while (bytes.size() >= sizeof(nlattr)) {
    nlattr header{};
    std::memcpy(&header, bytes.data(), sizeof(header));
    if (header.nla_len < sizeof(header) || header.nla_len > bytes.size()) return;
    take(header.nla_type & NLA_TYPE_MASK, bytes.subspan(sizeof(header), header.nla_len - sizeof(header)));
    bytes = bytes.subspan(std::min<size_t>(NLA_ALIGN(header.nla_len), bytes.size()));
  }
}

bool has_ports(uint8_t protocol) {
  return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP || protocol == IPPROTO_DCCP ||
         protocol == IPPROTO_UDPLITE;
}

void read_transport(Bytes bytes, LoggedPacket& packet) {
  if (packet.fragment) return;
  const uint8_t icmp_number = packet.source->is_v4() ? uint8_t{IPPROTO_ICMP} : uint8_t{IPPROTO_ICMPV6};
  const bool icmp = packet.protocol == icmp_number;
  if (has_ports(packet.protocol) && bytes.size() >= 4) packet.ports.emplace(be16(bytes, 0), be16(bytes, 2));
  if (icmp && !bytes.empty()) packet.icmp_type = bytes[0];
}

// RFC 791, section 3.1.
void read_ipv4(Bytes bytes, LoggedPacket& packet) {
  if (bytes.size() < 20 || bytes[0] >> 4 != 4) return;
  const size_t header = size_t{bytes[0]} % 16 * 4;
  packet.source = addr::Ip::from_bytes(bytes.subspan(12, 4));
  packet.destination = addr::Ip::from_bytes(bytes.subspan(16, 4));
  packet.protocol = bytes[9];
  packet.fragment = (be16(bytes, 6) & 0x1fff) != 0;
  if (header >= 20 && header <= bytes.size()) read_transport(bytes.subspan(header), packet);
}

// RFC 8200, sections 3 and 4.
void read_ipv6(Bytes bytes, LoggedPacket& packet) {
  if (bytes.size() < 40 || bytes[0] >> 4 != 6) return;
  packet.source = addr::Ip::from_bytes(bytes.subspan(8, 16));
  packet.destination = addr::Ip::from_bytes(bytes.subspan(24, 16));
  packet.protocol = bytes[6];
  bytes = bytes.subspan(40);
  for (int i = 0; i < kMaxExtensions && bytes.size() >= 8; ++i) {
    size_t length = 8;
    if (packet.protocol == IPPROTO_FRAGMENT)
      packet.fragment = (be16(bytes, 2) & 0xfff8) != 0;
    else if (packet.protocol == IPPROTO_HOPOPTS || packet.protocol == IPPROTO_ROUTING ||
             packet.protocol == IPPROTO_DSTOPTS)
      length += size_t{bytes[1]} * 8;
    else
      break;
    packet.protocol = bytes[0];
    if (packet.fragment || length > bytes.size()) return;
    bytes = bytes.subspan(length);
  }
  read_transport(bytes, packet);
}

/// What nfnetlink_log's attributes say, before the packet itself is looked at.
struct Parts {
  uint8_t hook = 0;
  Bytes payload = {};
};

void take_attribute(int type, Bytes value, LoggedPacket& packet, Parts& parts) {
  if (type == NFULA_PREFIX) {
    packet.prefix.assign(value.begin(), std::ranges::find(value, uint8_t{0}));
  } else if (type == NFULA_PAYLOAD) {
    parts.payload = value;
  } else if (type == NFULA_PACKET_HDR && value.size() >= 3) {
    packet.ethertype = be16(value, 0);
    parts.hook = value[2];
  } else if (type == NFULA_HWADDR && value.size() >= 4 + kMacSize && be16(value, 0) == kMacSize) {
    std::ranges::copy(value.subspan(4, kMacSize), packet.source_mac.emplace().bytes.begin());
  }
}

/// In the egress hook of a device the packet has its Ethernet header on already (net/core/dev.c: __dev_queue_xmit()).
void take_ethernet(LoggedPacket& packet, Parts& parts) {
  if (parts.payload.size() < kEthernetHeader) return;
  std::ranges::copy(parts.payload.subspan(kMacSize, kMacSize), packet.source_mac.emplace().bytes.begin());
  packet.ethertype = be16(parts.payload, 2 * kMacSize);
  parts.payload = parts.payload.subspan(kEthernetHeader);
}

std::string protocol_name(uint8_t protocol) {
  switch (protocol) {
    case IPPROTO_TCP:
      return "tcp";
    case IPPROTO_UDP:
      return "udp";
    case IPPROTO_ICMP:
      return "icmp";
    case IPPROTO_ICMPV6:
      return "icmpv6";
    case IPPROTO_SCTP:
      return "sctp";
    default:
      return fmt::format("protocol {}", protocol);
  }
}

std::string end_text(const addr::Ip& ip, std::optional<uint16_t> port) {
  if (!port) return ip.text();
  return ip.is_v4() ? fmt::format("{}:{}", ip.text(), *port) : fmt::format("[{}]:{}", ip.text(), *port);
}

}  // namespace

Result<LoggedPacket> parse_logged_packet(std::span<const uint8_t> message) {
  nlmsghdr header{};
  if (message.size() < sizeof(header) + sizeof(nfgenmsg)) return fail(Kind::kDecode, "read a logged packet: too short");
  std::memcpy(&header, message.data(), sizeof(header));
  if (header.nlmsg_type != (NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET) || header.nlmsg_len > message.size() ||
      header.nlmsg_len < sizeof(header) + sizeof(nfgenmsg))
    return fail(Kind::kDecode, fmt::format("read a logged packet: message type {}, {} of {} bytes", header.nlmsg_type,
                                           header.nlmsg_len, message.size()));
  const uint8_t family = message[sizeof(header)];
  LoggedPacket packet;
  Parts parts;
  each_attribute(message.subspan(sizeof(header), header.nlmsg_len - sizeof(header)).subspan(sizeof(nfgenmsg)),
                 [&](int type, Bytes value) { take_attribute(type, value, packet, parts); });
  if (family == NFPROTO_NETDEV && parts.hook == kEgressHook) take_ethernet(packet, parts);
  if (packet.ethertype == kIpv4Type) read_ipv4(parts.payload, packet);
  if (packet.ethertype == kIpv6Type) read_ipv6(parts.payload, packet);
  return packet;
}

std::string packet_text(const LoggedPacket& packet) {
  if (!packet.source || !packet.destination) return fmt::format("ethertype {:#06x}", packet.ethertype);
  std::optional<uint16_t> from;
  std::optional<uint16_t> to;
  if (packet.ports) std::tie(from, to) = *packet.ports;
  std::string text = protocol_name(packet.protocol);
  if (packet.icmp_type) text += fmt::format(" type {}", *packet.icmp_type);
  if (packet.fragment) text += " fragment";
  return fmt::format("{} {} -> {}", text, end_text(*packet.source, from), end_text(*packet.destination, to));
}

}  // namespace slicer::netfilter
