#pragma once
// Does somebody on the LAN use an address? Source: RFC 5227, section 2.1.1.

#include <chrono>
#include <optional>

#include "lib/addr/ip.h"
#include "lib/addr/mac.h"
#include "lib/net/netns.h"

namespace slicer::net {

struct ArpProbe {
  int index = 0;                         ///< the link that asks; it is up
  addr::Mac mac = {};                    ///< its own
  addr::Ip ip = {};                      ///< IPv4
  std::chrono::milliseconds limit{200};  ///< in all: a second request goes out after half of it
};

/// Asks who has `ip`, with no sender address of its own, so that no cache of the LAN learns anything. @return the MAC
/// of who has it, or is asking for it in the same way at the same time; none within the limit: it is free. An answer
/// ends the wait. Errors: kSystem (the link is down or gone).
Result<std::optional<addr::Mac>> probe_address(const Netns& ns, const ArpProbe& probe);

}  // namespace slicer::net
