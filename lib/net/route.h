#pragma once
// Routes of the main table (or another).

#include <cstdint>
#include <optional>
#include <vector>

#include "lib/addr/ip.h"
#include "lib/net/netlink.h"

namespace slicer::net {

struct Route {
  addr::Cidr destination = {};  ///< its network; 0.0.0.0/0 and ::/0: the default route
  int device = 0;
  std::optional<addr::Ip> gateway = {};
  bool on_link = false;  ///< the gateway needs no route of its own
  std::optional<addr::Ip> source = {};
  std::optional<uint32_t> metric = {};  ///< RTA_PRIORITY
  std::optional<uint32_t> table = {};   ///< absent: main
  std::optional<uint8_t> scope = {};    ///< absent: link without, universe with a gateway
  std::optional<uint32_t> mtu_bytes = {};
  std::optional<uint32_t> advmss = {};
};

/// Error: kExists when the table has a route to this destination with this metric, whatever its device.
Result<void> add_route(RouteSocket& ns, const Route& route);
/// The same beside other ways to the destination: IPv4 takes this one from then on, IPv6 shares between them (the
/// kernel, without NLM_F_EXCL). Error: kExists when this very route stands.
Result<void> add_route_beside(RouteSocket& ns, const Route& route);
/// @return whether it had to be added; a route to the same destination by another device or gateway is kExists.
Result<bool> ensure_route(RouteSocket& ns, const Route& route);
/// Whether a route with this destination, device and gateway stands. A host route costs one lookup, others a dump that
/// the kernel filters by device.
Result<bool> has_route(RouteSocket& ns, const Route& route);
/// The same, whatever its table.
Result<bool> has_route_in_any_table(RouteSocket& ns, const Route& route);
/// Destination, device and gateway decide; absent is success.
Result<void> delete_route(RouteSocket& ns, const Route& route);
/// The route by which the kernel would send to `ip` (longest match); none: unreachable.
Result<std::optional<Route>> find_route_to(RouteSocket& ns, const addr::Ip& ip);
/// The destination of the entry that decides about `ip` (longest match), of whatever type: a link's, a gateway's, an
/// address of the host (/32). None: no entry, or one that refuses (unreachable, prohibit, blackhole).
Result<std::optional<addr::Cidr>> find_destination_of(RouteSocket& ns, const addr::Ip& ip);
/// The first default route of the main table. Dumps that table: for STATUS, doctor and set-up, not per attachment.
Result<std::optional<Route>> find_default_route(RouteSocket& ns, addr::Family family);
/// The device of the default route that the kernel would take now (rules, metrics and dead links considered; of several
/// next hops the first). One lookup, but for a host with a longer route to the documentation ranges (RFC 5737, RFC
/// 3849), where the main table is read.
Result<std::optional<int>> find_default_device(RouteSocket& ns, addr::Family family);
/// Whether `ip` is an address of the namespace's own. One lookup.
Result<bool> is_own_address(RouteSocket& ns, const addr::Ip& ip);
/// All addresses that the namespace takes for its own, whatever their link; those of links that are down are none. Read
/// from the local table, which does not grow with links that have no address.
Result<std::vector<addr::Ip>> list_own_addresses(RouteSocket& ns, addr::Family family);

}  // namespace slicer::net
