#include "plugins/bridge/gateway.h"

#include <fmt/core.h>

#include <algorithm>

#include "lib/net/address.h"
#include "lib/net/bridge_port.h"
#include "plugins/bridge/vlan_gateway.h"

namespace slicer::bridge {
namespace {

// RFC 8200, section 5: every link carries packets of 1280 bytes.
constexpr unsigned kIpv6MtuMin = 1280;

addr::Cidr default_destination(addr::Family family) { return {.ip = addr::Ip(family, 0), .prefix = 0}; }

Result<void> check_addresses(const cni::CniResult& result, const Config& config) {
  const auto count = [&](addr::Family family) {
    return std::count_if(result.ips.begin(), result.ips.end(),
                         [&](const cni::IpConfig& ip) { return ip.address.family() == family; });
  };
  if (config.device == Device::kTap && (count(addr::Family::kIpv4) > 1 || count(addr::Family::kIpv6) > 1))
    return fail(Kind::kInvalidConfig, "\"ipam\": gave several addresses of one family; a VM gets one of each",
                "keep one range set per family in \"ipam\"");
  if (config.mtu_bytes != 0 && config.mtu_bytes < kIpv6MtuMin && count(addr::Family::kIpv6) > 0)
    return fail(Kind::kInvalidConfig,
                fmt::format("\"mtu\": {} is below IPv6's least, {}", config.mtu_bytes, kIpv6MtuMin),
                "raise \"mtu\" or leave the IPv6 range out of \"ipam\"");
  return {};
}

void add_default_route(cni::CniResult& result, const cni::IpConfig& ip) {
  const addr::Cidr destination = default_destination(ip.address.family());
  const bool there = std::any_of(result.routes.begin(), result.routes.end(), [&](const cni::Route& route) {
    return route.dst == destination && route.gw.has_value();
  });
  if (!there) result.routes.push_back({.dst = destination, .gw = ip.gateway});
}

/// What upstream's bridge calls a conflict.
bool conflicts(const net::LinkAddress& standing, const addr::Cidr& wanted) {
  if (wanted.ip.is_v4()) return true;
  return standing.address.contains(wanted.ip) || wanted.contains(standing.address.ip);
}

Result<void> clear_way(Call& call, const Bridge& bridge, const addr::Cidr& standing, const addr::Cidr& wanted,
                       Undo& undo) {
  if (!call.config.force_address)
    return fail(Kind::kExists,
                fmt::format("put gateway '{}' on bridge '{}': it has the address {}", wanted.text(), call.config.bridge,
                            standing.text()),
                "use another bridge, or set \"forceAddress\": true to replace the address");
  TRY(net::delete_address(call.host, bridge.gateway_index, standing));
  undo.push("put replaced address back", [&call, index = bridge.gateway_index, standing]() -> Result<void> {
    (void)TRY(net::ensure_address(call.host, index, {.address = standing, .broadcast = true}));
    return {};
  });
  return {};
}

Result<void> ensure_address(Call& call, const Bridge& bridge, const addr::Cidr& wanted, Undo& undo) {
  const auto standing = TRY(net::list_addresses(call.host, bridge.gateway_index, wanted.family()));
  if (std::any_of(standing.begin(), standing.end(), [&](const auto& one) { return one.address == wanted; })) return {};
  const std::vector<int> before = TRY(net::list_ports(call.host, bridge.index));
  for (const net::LinkAddress& one : standing)
    if (!one.link_local && conflicts(one, wanted)) TRY(clear_way(call, bridge, one.address, wanted, undo));
  const bool added =
      TRY(net::ensure_address(call.host, bridge.gateway_index,
                              {.address = wanted, .no_dad = !call.config.detect_duplicates, .broadcast = true}));
  if (!added) return {};
  // It belongs to the network: another call that found it may count on it, and then has a port that was not here.
  undo.push("remove gateway", [&call, bridge, wanted, before]() -> Result<void> {
    for (const int port : TRY(net::list_ports(call.host, bridge.index)))
      if (std::ranges::find(before, port) == before.end()) return {};
    return net::delete_address(call.host, bridge.gateway_index, wanted);
  });
  return {};
}

}  // namespace

Result<cni::CniResult> plan_result(cni::CniResult from_ipam, const Config& config) {
  cni::CniResult result = std::move(from_ipam);
  TRY(check_addresses(result, config));
  if (!config.dns.empty()) result.dns = config.dns;
  if (!config.is_gateway) return result;
  for (cni::IpConfig& ip : result.ips) {
    if (!ip.gateway) ip.gateway = ip.address.first().plus(1);
    if (config.default_gateway) add_default_route(result, ip);
  }
  return result;
}

std::vector<addr::Cidr> gateway_addresses(const cni::CniResult& result, const Config& config) {
  std::vector<addr::Cidr> gateways;
  if (!config.is_gateway) return gateways;
  for (const cni::IpConfig& ip : result.ips)
    if (ip.gateway) gateways.push_back({.ip = *ip.gateway, .prefix = ip.address.prefix});
  return gateways;
}

Result<void> ensure_gateway(Call& call, const Bridge& bridge, const std::vector<addr::Cidr>& gateways, Undo& undo) {
  for (const addr::Cidr& gateway : gateways) TRY(ensure_address(call, bridge, gateway, undo));
  return {};
}

Result<void> check_gateway(Call& call, const Bridge& bridge, const std::vector<addr::Cidr>& gateways) {
  for (const addr::Cidr& gateway : gateways) {
    if (TRY(net::has_address(call.host, bridge.gateway_index, gateway))) continue;
    return fail(Kind::kMismatch,
                fmt::format("check gateway '{}' on bridge '{}': no such address", gateway.text(), call.config.bridge),
                fmt::format("ip addr add {} dev {}", gateway.text(), gateway_link(call.config)));
  }
  return {};
}

}  // namespace slicer::bridge
