#include "ipam/host_use.h"

#include "lib/net/neighbour.h"
#include "lib/net/route.h"

namespace slicer::ipam {

Result<bool> in_use_by_host(const addr::Ip& ip) {
  net::RouteSocket host = TRY(net::RouteSocket::open());
  const auto route = TRY(net::find_route_to(host, ip));
  if (!route) return false;
  if (route->destination.prefix == addr::bits_of(ip.family())) return true;
  const auto neighbour = TRY(net::find_neighbour(host, route->device, ip));
  return neighbour && neighbour->permanent;
}

}  // namespace slicer::ipam
