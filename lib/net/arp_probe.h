#pragma once
// Does somebody on the LAN use an address? Source: RFC 5227, section 2.1.1.

#include <chrono>
#include <optional>
#include <vector>

#include "lib/addr/ip.h"
#include "lib/addr/mac.h"
#include "lib/net/netns.h"

namespace slicer::net {

struct ArpProbe {
  int index = 0;                   ///< the link that asks; it is up
  addr::Mac mac = {};              ///< its own
  std::vector<addr::Ip> ips = {};  ///< IPv4
  /// In all, for all of them: the second requests go out after half of it. Closing the socket takes the kernel up to 20
  /// ms more (net/packet/af_packet.c, packet_release() waits for a grace period).
  std::chrono::milliseconds limit{180};
};

/// Somebody has the address.
struct ArpClaim {
  addr::Ip ip = {};
  addr::Mac mac = {};
};

/// Asks who has one of the addresses, with no sender address of its own, so that no cache of the LAN learns anything.
/// @return the first who has one, or is asking for it in the same way at the same time; none within the limit: they are
/// free. An answer ends the wait. Errors: kSystem (the link is down or gone).
Result<std::optional<ArpClaim>> probe_addresses(const Netns& ns, const ArpProbe& probe);

}  // namespace slicer::net
