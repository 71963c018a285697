#include "runner/groups/host_networks.h"

#include "lib/base/hash.h"
#include "lib/net/address.h"
#include "lib/net/route.h"

namespace slicer::runner {
namespace {

using addr::Cidr;
using addr::Ip;

constexpr unsigned kSubnets = 256;
constexpr unsigned kDefaultLike = 7;  // VPNs replace the default route by halves: 0.0.0.0/1 and 128.0.0.0/1
const Cidr kPrivate{.ip = Ip(addr::Family::kIpv4, 0xc0a80000), .prefix = 24};  // 192.168.0.0

// No entry but a default route decides about any address of it; smaller subnets inside count too.
Result<bool> is_free(net::RouteSocket& host, const Cidr& subnet) {
  for (Ip ip = subnet.first(); ip <= subnet.last(); ip = ip.plus(1)) {
    const std::optional<Cidr> destination = TRY(net::find_destination_of(host, ip));
    if (destination && destination->prefix > kDefaultLike) return false;
  }
  return true;
}

Result<std::optional<Cidr>> free_subnet(net::RouteSocket& host, const std::string& group) {
  const uint64_t start = hash_names({"cidr", group});
  for (unsigned step = 0; step < kSubnets; ++step) {
    const Cidr subnet{.ip = kPrivate.ip.plus(((start + step) % kSubnets) << 8), .prefix = kPrivate.prefix};
    if (TRY(is_free(host, subnet))) return subnet;
  }
  return std::nullopt;
}

Result<std::optional<Cidr>> lan_of(net::RouteSocket& host, const std::optional<net::Route>& fallback) {
  if (!fallback) return std::nullopt;
  for (const net::LinkAddress& own : TRY(net::list_addresses(host, fallback->device, addr::Family::kIpv4)))
    if (own.address.prefix < 32 && (!fallback->gateway || own.address.contains(*fallback->gateway)))
      return own.address.network();
  return std::nullopt;
}

}  // namespace

Result<HostNetworks> look_at_networks(const std::string& group) {
  net::RouteSocket host = TRY(net::RouteSocket::open());
  const std::optional<net::Route> fallback = TRY(net::find_default_route(host, addr::Family::kIpv4));
  HostNetworks networks;
  networks.lan = TRY(lan_of(host, fallback));
  networks.free = TRY(free_subnet(host, group));
  return networks;
}

}  // namespace slicer::runner
