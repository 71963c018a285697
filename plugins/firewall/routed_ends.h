#pragma once
// The host's links of a routed network (an upstream ptp): each leads to one VM and is in the network's group, so that
// lists judge all that comes in by it, whatever address it says to come from (docs/slicer-firewall.md, "What it
// selects").

#include <cstdint>
#include <vector>

#include "lib/net/link.h"

namespace slicer::firewall {

struct RoutedEnds {
  std::vector<net::Link> links = {};
  uint32_t group = 0;       ///< the network's (cni::routed_group())
  bool restricted = false;  ///< lists can drop something
  bool ipv6 = false;        ///< the network has it
};

/// Puts the links into the group. With lists, and on a network without IPv6, that is switched off on them. Errors:
/// kExists (with lists: a link is in another program's group), kSystem.
Result<void> ensure_ends(net::RouteSocket& host, const RoutedEnds& ends);

/// CHECK. Error: kMismatch.
Result<void> check_ends(const RoutedEnds& ends);

}  // namespace slicer::firewall
