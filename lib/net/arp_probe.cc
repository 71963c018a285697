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

Packet request_of(const ArpProbe& probe) {
  Packet packet = {};
  packet.ea_hdr = {.ar_hrd = htons(ARPHRD_ETHER),
                   .ar_pro = htons(ETH_P_IP),
                   .ar_hln = ETH_ALEN,
                   .ar_pln = 4,
                   .ar_op = htons(ARPOP_REQUEST)};
  std::copy(probe.mac.bytes.begin(), probe.mac.bytes.end(), packet.arp_sha);
  std::copy_n(probe.ip.bytes().begin(), 4, packet.arp_tpa);
  return packet;
}

Result<void> ask(int fd, const ArpProbe& probe, const std::string& action) {
  sockaddr_ll everybody = link_address(probe.index);
  everybody.sll_halen = ETH_ALEN;
  std::fill_n(everybody.sll_addr, ETH_ALEN, uint8_t{0xff});
  const Packet packet = request_of(probe);
  if (sendto(fd, &packet, sizeof packet, 0, reinterpret_cast<const sockaddr*>(&everybody), sizeof everybody) < 0)
    return fail_errno(errno, action);
  return {};
}

/// Who sent it, when he has the address or wants it just now.
std::optional<addr::Mac> claimant(const Packet& packet, const ArpProbe& probe) {
  const auto wanted = probe.ip.bytes();
  const auto is_wanted = [&](const uint8_t* ip) { return std::memcmp(ip, wanted.data(), 4) == 0; };
  constexpr uint8_t kNone[4] = {};
  if (packet.ea_hdr.ar_pro != htons(ETH_P_IP) || packet.ea_hdr.ar_hln != ETH_ALEN) return std::nullopt;
  const bool has = is_wanted(packet.arp_spa);
  const bool asks = packet.ea_hdr.ar_op == htons(ARPOP_REQUEST) && std::memcmp(packet.arp_spa, kNone, 4) == 0 &&
                    is_wanted(packet.arp_tpa);
  addr::Mac sender;
  std::copy_n(packet.arp_sha, sender.bytes.size(), sender.bytes.begin());
  if ((!has && !asks) || sender == probe.mac) return std::nullopt;
  return sender;
}

std::optional<addr::Mac> listen_until(int fd, const ArpProbe& probe, Clock::time_point end) {
  for (;;) {
    Packet packet = {};
    sockaddr_ll from = {};
    socklen_t from_size = sizeof from;
    const ssize_t size = recvfrom(fd, &packet, sizeof packet, 0, reinterpret_cast<sockaddr*>(&from), &from_size);
    if (size >= static_cast<ssize_t>(sizeof packet)) {
      // What has a VLAN's tag is another LAN's. The kernel takes the tag out and says no more than this of it, not even
      // by PACKET_AUXDATA (net/core/dev.c, __netif_receive_skb_core()).
      if (const std::optional<addr::Mac> mac = claimant(packet, probe); mac && from.sll_pkttype != PACKET_OTHERHOST)
        return mac;
      if (Clock::now() < end) continue;  // however much the LAN has to say
      return std::nullopt;
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
    pollfd wait{.fd = fd, .events = POLLIN, .revents = 0};
    if (left <= 0 || poll(&wait, 1, static_cast<int>(left)) == 0) return std::nullopt;
  }
}

}  // namespace

Result<std::optional<addr::Mac>> probe_address(const Netns& ns, const ArpProbe& probe) {
  const std::string action = "ask the LAN for '" + probe.ip.text() + "'";
  const UniqueFd fd = TRY(open_socket(ns, probe.index, action));
  const Clock::time_point start = Clock::now();
  for (const auto until : {probe.limit / 2, probe.limit}) {
    TRY(ask(fd.get(), probe, action));
    if (const std::optional<addr::Mac> mac = listen_until(fd.get(), probe, start + until)) return mac;
  }
  return std::optional<addr::Mac>{};
}

}  // namespace slicer::net
