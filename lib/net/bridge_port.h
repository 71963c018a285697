#pragma once
// Ports of a bridge: their flags, static FDB entries, VLANs.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "lib/addr/ip.h"
#include "lib/addr/mac.h"
#include "lib/net/netlink.h"

namespace slicer::net {

/// The most ports a Linux bridge takes (net/bridge/br_private.h, BR_MAX_PORTS less port 0).
inline constexpr unsigned kBridgePortsMax = 1023;

/// Flags of a port. To write: what is not set stays. As read: not set means that the kernel does not know it.
struct PortFlags {
  std::optional<bool> isolated = {};
  std::optional<bool> locked =
      {};  ///< since Linux 5.18; an older kernel ignores it without a word: see supports_locked()
  std::optional<bool> hairpin = {};
  std::optional<bool> learning = {};
  std::optional<bool> unicast_flood = {};
};
Result<void> set_port_flags(RouteSocket& ns, int port, const PortFlags& flags);
/// Error: kNotFound when the link is absent or no port.
Result<PortFlags> get_port_flags(RouteSocket& ns, int port);
/// Whether this kernel has locked ports, as read from a port.
Result<bool> supports_locked(RouteSocket& ns, int port);

/// What makes a guest reachable at once.
struct PortGuest {
  int port = 0;  ///< a port of `bridge`
  int bridge = 0;
  addr::Mac mac = {};
  std::vector<addr::Ip> ips = {};     ///< permanent neighbour entries on the bridge; may be empty
  std::optional<uint16_t> vlan = {};  ///< of the FDB entry
  PortFlags flags = {};
};
/// Port flags, FDB entry and neighbour entries in one send. On an error the caller undoes it with remove_port_guest()
/// and by deleting the port. Errors: as RouteSocket; kExists: an address has a permanent neighbour entry with another
/// MAC, which is on a port of the bridge.
Result<void> attach_port_guest(RouteSocket& ns, const PortGuest& guest);
/// Removes FDB and neighbour entries, if they are there and have the guest's MAC; the FDB entry dies with its port
/// anyway.
Result<void> remove_port_guest(RouteSocket& ns, const PortGuest& guest);

/// A static FDB entry of a port. ensure_ makes or overwrites.
Result<void> ensure_fdb_entry(RouteSocket& ns, int port, const addr::Mac& mac, std::optional<uint16_t> vlan = {});
Result<void> delete_fdb_entry(RouteSocket& ns, int port, const addr::Mac& mac, std::optional<uint16_t> vlan = {});
/// The port behind which the bridge has `mac` (one lookup); none: the bridge does not know it.
Result<std::optional<int>> find_fdb_port(RouteSocket& ns, int bridge, const addr::Mac& mac,
                                         std::optional<uint16_t> vlan = {});

/// Removes the neighbour entries of ours on `bridge` whose MAC has no FDB entry on a port: their guest is gone.
/// @return how many
Result<unsigned> remove_dead_neighbours(RouteSocket& ns, int bridge);

/// Ports of a bridge (indexes), filtered by the kernel. For limits, GC and firewalls, not per attachment.
Result<std::vector<int>> list_ports(RouteSocket& ns, int bridge);

/// One VLAN, or a range when `last` is above `id`.
struct PortVlan {
  uint16_t id = 0;
  uint16_t last = 0;  ///< 0: only `id`
  bool pvid = false;
  bool untagged = false;
};
/// `link` is a port, or with `self` the bridge itself. Error: kUnsupportedKernel (no VLAN filtering).
Result<void> add_vlan(RouteSocket& ns, int link, const PortVlan& vlan, bool self = false);
Result<void> delete_vlan(RouteSocket& ns, int link, const PortVlan& vlan, bool self = false);
/// The VLANs of a port, by id; neighbours that the kernel tells as one range stay one. None: no VLAN filtering.
/// Error: kNotFound when the link is absent or no port.
Result<std::vector<PortVlan>> list_vlans(RouteSocket& ns, int port);

}  // namespace slicer::net
