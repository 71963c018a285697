#include "runner/groups/host_networks.h"

#include <net/if.h>

#include <algorithm>
#include <array>

#include "lib/base/hash.h"
#include "lib/net/address.h"
#include "lib/net/route.h"

namespace slicer::runner {
namespace {

using addr::Cidr;
using addr::Ip;

constexpr unsigned kDefaultLike = 7;  // VPNs replace the default route by halves: 0.0.0.0/1 and 128.0.0.0/1
constexpr unsigned kPrefix = 24;

/// Private address space (RFC 1918) that /24s are taken from.
struct Space {
  uint32_t first = 0;
  unsigned subnets = 0;
};
constexpr std::array kSpaces = {Space{.first = 0xc0a80000, .subnets = 256},    // 192.168.0.0/16
                                Space{.first = 0xac100000, .subnets = 4096}};  // 172.16.0.0/12

// Smaller subnets inside count too.
Result<bool> is_free(net::RouteSocket& host, const Cidr& subnet) {
  for (Ip ip = subnet.first(); ip <= subnet.last(); ip = ip.plus(1)) {
    const std::optional<Cidr> destination = TRY(net::find_destination_of(host, ip));
    if (destination && destination->prefix > kDefaultLike) return false;
  }
  return true;
}

bool overlap(const Cidr& a, const Cidr& b) { return a.contains(b.ip) || b.contains(a.ip); }

Result<std::optional<Cidr>> lan_of(net::RouteSocket& host, const std::optional<net::Route>& fallback) {
  if (!fallback) return std::nullopt;
  for (const net::LinkAddress& own : TRY(net::list_addresses(host, fallback->device, addr::Family::kIpv4)))
    if (own.address.prefix < 32 && (!fallback->gateway || own.address.contains(*fallback->gateway)))
      return own.address.network();
  return std::nullopt;
}

}  // namespace

Result<std::optional<Cidr>> find_free_subnet(const std::string& group, std::span<const Cidr> taken) {
  net::RouteSocket host = TRY(net::RouteSocket::open());
  const uint64_t start = hash_names({"cidr", group});
  for (const Space& space : kSpaces)
    for (unsigned step = 0; step < space.subnets; ++step) {
      const Ip first(addr::Family::kIpv4, space.first + (static_cast<uint32_t>((start + step) % space.subnets) << 8U));
      const Cidr subnet{.ip = first, .prefix = kPrefix};
      if (std::ranges::any_of(taken, [&](const Cidr& other) { return overlap(subnet, other); })) continue;
      if (TRY(is_free(host, subnet))) return subnet;
    }
  return std::nullopt;
}

Result<bool> is_free_subnet(const Cidr& subnet, const std::string& own) {
  net::RouteSocket host = TRY(net::RouteSocket::open());
  if (const unsigned device = if_nametoindex(own.c_str()); device != 0)
    for (const net::LinkAddress& address : TRY(net::list_addresses(host, static_cast<int>(device), subnet.family())))
      if (address.address.network() == subnet) return true;
  return is_free(host, subnet);
}

Result<HostNetworks> look_at_networks(const std::string& group, std::span<const Cidr> taken) {
  net::RouteSocket host = TRY(net::RouteSocket::open());
  const std::optional<net::Route> fallback = TRY(net::find_default_route(host, addr::Family::kIpv4));
  HostNetworks networks;
  networks.lan = TRY(lan_of(host, fallback));
  networks.free = TRY(find_free_subnet(group, taken));
  return networks;
}

}  // namespace slicer::runner
