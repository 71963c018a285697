#include "lib/net/arp_probe.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "lib/base/unique_fd.h"

namespace slicer::net {
namespace {

using Clock = std::chrono::steady_clock;

/// RFC 826 for Ethernet and IPv4, as netinet/if_ether.h has it.
using Packet = ether_arp;

sockaddr_ll link_address(int index) {
  sockaddr_ll address = {};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ARP);
  address.sll_ifindex = index;
  return address;
}

Result<UniqueFd> open_socket(const Netns& ns, int index, const std::string& action) {
  UniqueFd fd;
  {
    const ScopedNetns inside = TRY(ScopedNetns::enter(ns));
    // Protocol 0 receives nothing until it is bound to the one link.
    fd.reset(socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  }
  if (!fd.valid()) return fail_errno(errno, action + ": open packet socket");
  const sockaddr_ll address = link_address(index);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail_errno(errno, action + ": listen");
  return fd;
}

Packet request_of(const addr::Mac& sender, const addr::Ip& ip) {
  Packet packet = {};
  packet.ea_hdr = {.ar_hrd = htons(ARPHRD_ETHER),
                   .ar_pro = htons(ETH_P_IP),
                   .ar_hln = ETH_ALEN,
                   .ar_pln = 4,
                   .ar_op = htons(ARPOP_REQUEST)};
  std::copy(sender.bytes.begin(), sender.bytes.end(), packet.arp_sha);
  std::copy_n(ip.bytes().begin(), 4, packet.arp_tpa);
  return packet;
}

Result<void> ask(int fd, const ArpProbe& probe, const std::string& action) {
  sockaddr_ll everybody = link_address(probe.index);
  everybody.sll_halen = ETH_ALEN;
  std::fill_n(everybody.sll_addr, ETH_ALEN, uint8_t{0xff});
  for (const addr::Ip& ip : probe.ips) {
    const Packet packet = request_of(probe.mac, ip);
    if (sendto(fd, &packet, sizeof packet, 0, reinterpret_cast<const sockaddr*>(&everybody), sizeof everybody) < 0)
      return fail_errno(errno, action);
  }
  return {};
}

/// Whether the packet says that its sender has `ip`, or wants it just now.
bool claims(const Packet& packet, const addr::Ip& ip) {
  const auto wanted = ip.bytes();
  const auto is_wanted = [&](const uint8_t* other) { return std::memcmp(other, wanted.data(), 4) == 0; };
  constexpr uint8_t kNone[4] = {};
  return is_wanted(packet.arp_spa) || (packet.ea_hdr.ar_op == htons(ARPOP_REQUEST) &&
                                       std::memcmp(packet.arp_spa, kNone, 4) == 0 && is_wanted(packet.arp_tpa));
}

std::optional<ArpClaim> claim_of(const Packet& packet, const ArpProbe& probe) {
  if (packet.ea_hdr.ar_pro != htons(ETH_P_IP) || packet.ea_hdr.ar_hln != ETH_ALEN) return std::nullopt;
  ArpClaim claim;
  std::copy_n(packet.arp_sha, claim.mac.bytes.size(), claim.mac.bytes.begin());
  if (claim.mac == probe.mac) return std::nullopt;
  const auto ip = std::ranges::find_if(probe.ips, [&](const addr::Ip& each) { return claims(packet, each); });
  if (ip == probe.ips.end()) return std::nullopt;
  claim.ip = *ip;
  return claim;
}

std::optional<ArpClaim> listen_until(int fd, const ArpProbe& probe, Clock::time_point end) {
  for (;;) {
    Packet packet = {};
    sockaddr_ll from = {};
    socklen_t from_size = sizeof from;
    const ssize_t size = recvfrom(fd, &packet, sizeof packet, 0, reinterpret_cast<sockaddr*>(&from), &from_size);
    if (size >= static_cast<ssize_t>(sizeof packet)) {
      // What has a VLAN's tag is another LAN's. The kernel takes the tag out and says no more than this of it, not even
      // by PACKET_AUXDATA (net/core/dev.c, __netif_receive_skb_core()).
      if (std::optional<ArpClaim> claim = claim_of(packet, probe); claim && from.sll_pkttype != PACKET_OTHERHOST)
        return claim;
      if (Clock::now() < end) continue;  // however much the LAN has to say
      return std::nullopt;
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
    pollfd wait{.fd = fd, .events = POLLIN, .revents = 0};
    if (left <= 0 || poll(&wait, 1, static_cast<int>(left)) == 0) return std::nullopt;
  }
}

}  // namespace

Result<std::optional<ArpClaim>> probe_addresses(const Netns& ns, const ArpProbe& probe) {
  if (probe.ips.empty()) return std::optional<ArpClaim>{};
  const std::string action = "ask the LAN for '" + probe.ips.front().text() + "'";
  const UniqueFd fd = TRY(open_socket(ns, probe.index, action));
  const Clock::time_point start = Clock::now();
  for (const auto until : {probe.limit / 2, probe.limit}) {
    TRY(ask(fd.get(), probe, action));
    if (std::optional<ArpClaim> claim = listen_until(fd.get(), probe, start + until)) return claim;
  }
  return std::optional<ArpClaim>{};
}

}  // namespace slicer::net
