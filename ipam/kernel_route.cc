#include "ipam/kernel_route.h"

#include <algorithm>

namespace slicer::ipam {

net::Route kernel_route(const cni::Route& route, const cni::CniResult& result, int device) {
  net::Route made{.destination = route.dst.network(), .device = device, .gateway = route.gw};
  // As upstream has it: a route without a gateway of its own goes by that of its family's address.
  for (const cni::IpConfig& ip : result.ips)
    if (!made.gateway && ip.address.family() == route.dst.family()) made.gateway = ip.gateway;
  if (route.priority != 0) made.metric = static_cast<uint32_t>(route.priority);
  if (route.mtu != 0) made.mtu_bytes = static_cast<uint32_t>(route.mtu);
  if (route.advmss != 0) made.advmss = static_cast<uint32_t>(route.advmss);
  if (route.table) made.table = static_cast<uint32_t>(*route.table);
  if (route.scope) made.scope = static_cast<uint8_t>(*route.scope);
  // SPEC.md: 253 is the scope "link": such a route has no gateway.
  if (route.scope == 253 && !route.gw) made.gateway.reset();
  return made;
}

bool has_ipv6(const cni::CniResult& result) {
  return std::any_of(result.ips.begin(), result.ips.end(), [](const auto& ip) { return !ip.address.ip.is_v4(); });
}

}  // namespace slicer::ipam
