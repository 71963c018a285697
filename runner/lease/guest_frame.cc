#include "runner/lease/guest_frame.h"

#include <algorithm>

namespace slicer::runner {
namespace {

using addr::Ip;
using Bytes = std::span<const uint8_t>;

constexpr size_t kEthernetHeader = 14;
constexpr unsigned kIpv4 = 0x0800;
constexpr unsigned kIpv6 = 0x86dd;
constexpr uint8_t kUdp = 17;
constexpr uint8_t kIcmp6 = 58;
constexpr unsigned kDhcpServer = 67;
constexpr unsigned kDhcpClient = 68;
constexpr size_t kUdpHeader = 8;
constexpr size_t kIpv6Header = 40;
constexpr uint8_t kNoRouterBetween = 255;  // RFC 4861, section 7.1
constexpr uint8_t kRouterSolicitation = 133;
constexpr uint8_t kNeighbourSolicitation = 135;
constexpr uint8_t kNeighbourAdvertisement = 136;

unsigned half(Bytes bytes, size_t at) { return static_cast<unsigned>(bytes[at]) << 8 | bytes[at + 1]; }

std::optional<DhcpMessage> dhcp_of(Bytes packet) {
  if (packet.size() < 20 || packet[0] >> 4 != 4 || packet[9] != kUdp) return std::nullopt;
  const size_t header = size_t{4} * (packet[0] & 15U);
  const size_t total = half(packet, 2);
  constexpr unsigned kFragment = 0x3fff;  // more fragments, or an offset
  if (header < 20 || total > packet.size() || total < header + kUdpHeader || (half(packet, 6) & kFragment) != 0)
    return std::nullopt;
  const Bytes udp = packet.subspan(header, total - header);
  const size_t length = half(udp, 4);
  const unsigned to = half(udp, 2);
  if ((to != kDhcpServer && to != kDhcpClient) || length < kUdpHeader || length > udp.size()) return std::nullopt;
  return parse_dhcp(udp.subspan(kUdpHeader, length - kUdpHeader));
}

std::optional<NeighbourNews> neighbour_of(Bytes packet) {
  constexpr size_t kTarget = kIpv6Header + 8;
  if (packet.size() < kIpv6Header + 8 || packet[0] >> 4 != 6 || packet[6] != kIcmp6 || packet[7] != kNoRouterBetween)
    return std::nullopt;
  const uint8_t type = packet[kIpv6Header];
  NeighbourNews news{.is_advertisement = type == kNeighbourAdvertisement};
  const Ip source = Ip::from_bytes(packet.subspan(8, 16));
  if (source.value() != 0) news.source = source;
  if (type == kRouterSolicitation) return news;
  if ((type != kNeighbourSolicitation && !news.is_advertisement) || packet.size() < kTarget + 16) return std::nullopt;
  news.target = Ip::from_bytes(packet.subspan(kTarget, 16));
  return news;
}

}  // namespace

std::optional<GuestFrame> parse_guest_frame(std::span<const uint8_t> frame) {
  if (frame.size() < kEthernetHeader) return std::nullopt;
  GuestFrame result;
  std::ranges::copy(frame.subspan(6, 6), result.source.bytes.begin());
  const unsigned type = half(frame, 12);
  const Bytes packet = frame.subspan(kEthernetHeader);
  if (type == kIpv4) result.dhcp = dhcp_of(packet);
  if (type == kIpv6) result.neighbour = neighbour_of(packet);
  if (!result.dhcp && !result.neighbour) return std::nullopt;
  return result;
}

}  // namespace slicer::runner
