#pragma once
// Namespaces by what is known of them. For cleaning up without a path; an ADD is told its path.

#include <optional>
#include <vector>

#include "lib/net/netlink.h"
#include "lib/net/netns.h"

namespace slicer::net {

/// Where iproute2, CNI runtimes and create_named_netns() bind namespaces.
inline constexpr const char* kNetnsFolder = "/run/netns";

/// All that are bound there, but the calling thread's own; what cannot be opened is left out. Each is open: a folder of
/// a thousand takes a thousand descriptors.
std::vector<Netns> list_named_netns();
/// The one that `ns` knows as `netnsid` (IFLA_LINK_NETNSID), when it is bound there.
Result<std::optional<Netns>> find_named_netns(RouteSocket& ns, int netnsid);

}  // namespace slicer::net
