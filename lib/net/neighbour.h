#pragma once
// Permanent neighbour entries and proxy entries.

#include <cstdint>
#include <optional>
#include <vector>

#include "lib/addr/ip.h"
#include "lib/addr/mac.h"
#include "lib/net/netlink.h"

namespace slicer::net {

/// NDA_PROTOCOL of every entry that we make ('S'; no routing daemon in iproute2's rt_protos uses it): by it DEL and GC
/// know ours among a bridge's neighbours.
inline constexpr uint8_t kNeighbourProtocol = 83;

struct Neighbour {
  int device = 0;
  addr::Ip ip = {};
  addr::Mac mac = {};     ///< not of proxy entries
  bool permanent = true;  ///< as read; we write no others
  uint8_t protocol = kNeighbourProtocol;
};

/// Makes or overwrites a permanent entry of ours.
Result<void> ensure_neighbour(RouteSocket& ns, const Neighbour& neighbour);
/// One lookup, of any protocol.
Result<std::optional<Neighbour>> find_neighbour(RouteSocket& ns, int device, const addr::Ip& ip);
/// Absent is success.
Result<void> delete_neighbour(RouteSocket& ns, int device, const addr::Ip& ip);
/// Ours (kNeighbourProtocol) on one device, both families; the kernel filters by device.
Result<std::vector<Neighbour>> list_neighbours(RouteSocket& ns, int device);

/// A proxy entry: the host answers neighbour requests for `ip` on `device`.
Result<void> ensure_proxy_neighbour(RouteSocket& ns, int device, const addr::Ip& ip);
Result<bool> has_proxy_neighbour(RouteSocket& ns, int device, const addr::Ip& ip);
Result<void> delete_proxy_neighbour(RouteSocket& ns, int device, const addr::Ip& ip);
/// Ours on one device.
Result<std::vector<addr::Ip>> list_proxy_neighbours(RouteSocket& ns, int device);

}  // namespace slicer::net
