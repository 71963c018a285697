#include "runner/groups/host_networks.h"

#include "lib/base/hash.h"
#include "lib/net/address.h"
#include "lib/net/route.h"

namespace slicer::runner {
namespace {

using addr::Cidr;
using addr::Ip;

constexpr unsigned kSubnets = 256;
const Cidr kPrivate{.ip = Ip(addr::Family::kIpv4, 0xc0a80000), .prefix = 24};  // 192.168.0.0

using DefaultRoute = std::optional<net::Route>;

bool same_way(const net::Route& route, const DefaultRoute& fallback) {
  return fallback && route.device == fallback->device && route.gateway == fallback->gateway &&
         route.gateway.has_value();
}

// Nothing of it is reached otherwise than the internet is; smaller subnets inside count too.
Result<bool> is_free(net::RouteSocket& host, const Cidr& subnet, const DefaultRoute& fallback) {
  for (Ip ip = subnet.first(); ip <= subnet.last(); ip = ip.plus(1)) {
    const std::optional<net::Route> route = TRY(net::find_route_to(host, ip));
    if (route && !same_way(*route, fallback)) return false;
  }
  return true;
}

Result<std::optional<Cidr>> free_subnet(net::RouteSocket& host, const std::string& group,
                                        const DefaultRoute& fallback) {
  const uint64_t start = hash_names({"cidr", group});
  for (unsigned step = 0; step < kSubnets; ++step) {
    const Cidr subnet{.ip = kPrivate.ip.plus(((start + step) % kSubnets) << 8), .prefix = kPrivate.prefix};
    if (TRY(is_free(host, subnet, fallback))) return subnet;
  }
  return std::nullopt;
}

Result<std::optional<Cidr>> lan_of(net::RouteSocket& host, const DefaultRoute& fallback) {
  if (!fallback) return std::nullopt;
  for (const net::LinkAddress& own : TRY(net::list_addresses(host, fallback->device, addr::Family::kIpv4)))
    if (own.address.prefix < 32 && (!fallback->gateway || own.address.contains(*fallback->gateway)))
      return own.address.network();
  return std::nullopt;
}

}  // namespace

Result<HostNetworks> look_at_networks(const std::string& group) {
  net::RouteSocket host = TRY(net::RouteSocket::open());
  const DefaultRoute fallback = TRY(net::find_default_route(host, addr::Family::kIpv4));
  HostNetworks networks;
  networks.lan = TRY(lan_of(host, fallback));
  networks.free = TRY(free_subnet(host, group, fallback));
  return networks;
}

}  // namespace slicer::runner
