#include "plugins/firewall/firewall.h"

#include <fmt/format.h>

#include <memory>
#include <optional>

#include "lib/net/link.h"
#include "lib/netfilter/backend.h"
#include "plugins/firewall/config.h"

namespace slicer::firewall {
namespace {

/// The host's side of an attachment, as prevResult tells it.
struct HostSide {
  bool present = false;     ///< an interface of it is in the host at all
  std::string bridge = {};  ///< empty: routed (ptp)
};

Result<const cni::CniResult*> previous_result(const cni::Request& request) {
  if (request.conf.prev_result) return &*request.conf.prev_result;
  return fail(Kind::kInvalidConfig, "read \"prevResult\": it is missing",
              "slicer-firewall comes after the plugin that makes the interface, in the same conflist");
}

/// Looks the interfaces without sandbox up: a bridge among them is what the network's packets pass.
Result<HostSide> find_host_side(const cni::CniResult& result) {
  HostSide side;
  std::optional<net::RouteSocket> host;
  std::string absent;
  for (const cni::Interface& interface : result.interfaces) {
    if (!interface.sandbox.empty()) continue;
    if (!host) host = TRY(net::RouteSocket::open());
    const std::optional<net::Link> link = TRY(net::find_link(*host, interface.name));
    if (!link) {
      absent = interface.name;
      continue;
    }
    side.present = true;
    if (link->kind != "bridge") continue;
    side.bridge = link->name;
    return side;
  }
  if (!side.present && !absent.empty())
    return fail(Kind::kNotFound, fmt::format("find interface '{}' of prevResult on the host: no such link", absent),
                "run DEL and ADD again; something deleted it");
  return side;
}

Result<void> check_routed_subnet(const addr::Cidr& subnet) {
  if (subnet.prefix < addr::bits_of(subnet.family())) return {};
  return fail(Kind::kInvalidConfig,
              fmt::format("select the network by subnet: address '{}' of prevResult has none", subnet.text()),
              "give the IPAM section a subnet, so that one rule serves all VMs of the network");
}

/// Nothing when the attachment's packets do not pass the host (a macvlan).
Result<std::optional<netfilter::NetworkRules>> wanted_rules(const Config& config, const cni::CniResult& result) {
  const HostSide side = TRY(find_host_side(result));
  if (!side.present) return std::nullopt;
  netfilter::NetworkRules rules{.network = config.network, .forward = netfilter::Forward{.bridge = side.bridge}};
  rules.listed_bridge = side.bridge;
  for (const cni::IpConfig& ip : result.ips) {
    if (side.bridge.empty()) TRY(check_routed_subnet(ip.address));
    rules.forward->subnets.push_back(ip.address.network());
  }
  if (side.bridge.empty() && rules.forward->subnets.empty()) return std::nullopt;
  return rules;
}

}  // namespace

Result<cni::CniResult> add(const cni::Request& request) {
  const Config config = TRY(parse_config(request.conf));
  const auto backend = TRY(netfilter::make_backend(config.backend));
  const cni::CniResult* result = TRY(previous_result(request));
  const auto rules = TRY(wanted_rules(config, *result));
  if (rules) TRY(backend->ensure(*rules));
  return *result;
}

Result<void> del(const cni::Request&) { return {}; }

Result<void> check(const cni::Request& request) {
  const Config config = TRY(parse_config(request.conf));
  const auto backend = TRY(netfilter::make_backend(config.backend));
  const auto rules = TRY(wanted_rules(config, *TRY(previous_result(request))));
  return rules ? backend->check(*rules) : Result<void>{};
}

Result<void> gc(const cni::Request&) { return {}; }

Result<void> status(const cni::Request& request) {
  const Config config = TRY(parse_config(request.conf));
  return TRY(netfilter::make_backend(config.backend))->probe();
}

}  // namespace slicer::firewall
