#include "plugins/firewall/segregation.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/net/bridge_port.h"
#include "lib/net/neighbour.h"
#include "lib/net/sysctl.h"

namespace slicer::firewall {
namespace {

std::string mark_key(const std::string& bridge) { return "net/ipv4/conf/" + bridge + "/proxy_arp_pvlan"; }
std::string delay_key(const std::string& bridge, int version) {
  return fmt::format("net/ipv{}/neigh/{}/proxy_delay", version, bridge);
}

/// Without IPv6 its keys are absent.
Result<void> set_if_there(const std::string& key, const std::string& value) {
  const auto set = net::ensure_sysctl(nullptr, key, value);
  if (!set && set.error().kind != Kind::kNotFound) return std::unexpected(set.error());
  return {};
}

/// The links of the host's that VMs of the bridge have for a gateway.
struct Gateways {
  std::vector<std::string> names = {};
  std::vector<int> ports = {};  ///< of the bridge that lead to the host: they stay open to all
};

Result<Gateways> gateways_of(net::RouteSocket& host, const HostSide& side) {
  Gateways gateways{.names = {side.bridge}};
  for (const net::Link& link : TRY(list_vlan_gateways(host, side.bridge))) {
    gateways.names.push_back(link.name);
    if (link.peer_index != 0) gateways.ports.push_back(link.peer_index);
  }
  return gateways;
}

/// The host answers on the link for all VMs, and sends none of them to another. The delay comes last: by it one knows
/// that all is done.
Result<void> answer_for_all(const std::string& link) {
  (void)TRY(net::ensure_sysctl(nullptr, mark_key(link), "1"));
  // A redirect would tell a VM what its bridge does not carry.
  (void)TRY(net::ensure_sysctl(nullptr, "net/ipv4/conf/" + link + "/send_redirects", "0"));
  TRY(set_if_there("net/ipv6/conf/" + link + "/proxy_ndp", "1"));
  TRY(set_if_there(delay_key(link, 6), "0"));
  return {};
}

Result<void> add_proxy(net::RouteSocket& host, int bridge, const addr::Ip& ip) {
  if (ip.is_v4()) return {};
  return net::ensure_proxy_neighbour(host, bridge, ip);
}

// The order matters: who adds a port reads the mark after it, so a port is either in this list or isolated by its own
// ADD. The delay comes last: a call that was killed before it does all of it again.
Result<void> segregate(net::RouteSocket& host, const HostSide& side) {
  (void)TRY(net::ensure_sysctl(nullptr, mark_key(side.bridge), "1"));
  const Gateways gateways = TRY(gateways_of(host, side));
  for (const int port : TRY(net::list_ports(host, side.bridge_index))) {
    if (std::ranges::find(gateways.ports, port) != gateways.ports.end()) continue;
    const Result<void> set = net::set_port_flags(host, port, {.isolated = true});
    if (!set && set.error().kind != Kind::kNotFound) return set;  // gone meanwhile
  }
  for (const std::string& link : gateways.names) TRY(answer_for_all(link));
  for (const net::Neighbour& guest : TRY(net::list_neighbours(host, side.gateway_index)))
    TRY(add_proxy(host, side.gateway_index, guest.ip));
  for (const std::string& link : gateways.names) (void)TRY(net::ensure_sysctl(nullptr, delay_key(link, 4), "0"));
  return {};
}

Result<bool> answers_for_all(const std::string& link) {
  if (TRY(net::read_sysctl(nullptr, mark_key(link))) != "1") return false;
  return TRY(net::read_sysctl(nullptr, delay_key(link, 4))) == "0";
}

Error mismatch(const HostSide& side, const std::string& cause) {
  return {.kind = Kind::kMismatch,
          .message = fmt::format("check bridge '{}', whose VMs must reach each other through the host: {}",
                                 side.gateway, cause),
          .hint = "the next ADD on this network puts it right"};
}

}  // namespace

bool needs_segregation(const netfilter::CompiledPolicy& policy, const std::vector<addr::Cidr>& subnets) {
  // RFC 4291, section 2.5.6; RFC 5771; RFC 4291, section 2.7.
  const addr::Cidr link_local{.ip = addr::Ip(addr::Family::kIpv6, addr::Uint128{0xfe80} << 112), .prefix = 10};
  const addr::Cidr multicast{.ip = addr::Ip(addr::Family::kIpv4, 0xe0000000U), .prefix = 4};
  const addr::Cidr multicast6{.ip = addr::Ip(addr::Family::kIpv6, addr::Uint128{0xff} << 120), .prefix = 8};
  std::vector<addr::Cidr> on_link = subnets;
  on_link.insert(on_link.end(), {link_local, multicast, multicast6});
  return std::ranges::any_of(on_link, [&](const addr::Cidr& subnet) { return policy.may_drop_within(subnet); });
}

Result<bool> is_segregated(const HostSide& side) {
  if (side.bridge.empty()) return false;
  if (!TRY(answers_for_all(side.bridge))) return false;
  return side.gateway == side.bridge || TRY(answers_for_all(side.gateway));
}

Result<bool> is_marked(const HostSide& side) {
  return !side.bridge.empty() && TRY(net::read_sysctl(nullptr, mark_key(side.bridge))) == "1";
}

Result<std::vector<addr::Ip>> without_proxy(net::RouteSocket& host, const SegregationSpec& spec) {
  std::vector<addr::Ip> missing;
  for (const addr::Ip& ip : spec.guests)
    if (!ip.is_v4() && !TRY(net::has_proxy_neighbour(host, spec.side.gateway_index, ip))) missing.push_back(ip);
  return missing;
}

Result<void> ensure_segregated(net::RouteSocket& host, const SegregationSpec& spec) {
  if (!TRY(is_segregated(spec.side))) TRY(segregate(host, spec.side));
  for (const int port : spec.side.ports) TRY(net::set_port_flags(host, port, {.isolated = true}));
  for (const addr::Ip& ip : spec.guests) TRY(add_proxy(host, spec.side.gateway_index, ip));
  return {};
}

Result<void> check_segregated(net::RouteSocket& host, const SegregationSpec& spec) {
  if (!TRY(is_segregated(spec.side)))
    return std::unexpected(mismatch(spec.side, "its proxy_arp_pvlan is not 1, or proxy_delay not 0"));
  for (const int port : spec.side.ports) {
    const net::PortFlags flags = TRY(net::get_port_flags(host, port));
    if (!flags.isolated.value_or(true)) return std::unexpected(mismatch(spec.side, "the VM's port is not isolated"));
  }
  for (const addr::Ip& ip : spec.guests) {
    if (ip.is_v4() || TRY(net::has_proxy_neighbour(host, spec.side.gateway_index, ip))) continue;
    return std::unexpected(mismatch(spec.side, fmt::format("no proxy neighbour entry for '{}'", ip.text())));
  }
  return {};
}

Result<void> remove_proxies(net::RouteSocket& host, const HostSide& side, const std::vector<addr::Ip>& guests) {
  if (side.bridge.empty()) return {};
  for (const addr::Ip& ip : guests)
    if (!ip.is_v4()) TRY(net::delete_proxy_neighbour(host, side.gateway_index, ip));
  return {};
}

}  // namespace slicer::firewall
