#include "runner/networks/outside_routes.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "lib/base/log.h"
#include "lib/net/address.h"
#include "lib/net/link.h"
#include "lib/net/route.h"
#include "runner/chain/conflist.h"
#include "runner/networks/facts.h"
#include "runner/state/vm_files.h"
#include "runner/state/vm_record.h"

namespace slicer::runner {
namespace {

using addr::Family;
using addr::Ip;

// The folder's, and those that VMs were attached to: a host group's list is in no folder.
Result<std::map<std::string, chain::Conflist>> all_networks(const Settings& settings) {
  std::map<std::string, chain::Conflist> networks;
  for (chain::Conflist& network : TRY(chain::list_networks(settings.conf_dir)).networks)
    networks.emplace(network.name, std::move(network));
  for (const std::string& name : TRY(list_vm_names(settings))) {
    const Result<VmRecord> record = load_record(settings, name);
    if (!record || record->network.empty() || networks.contains(record->network)) continue;
    if (Result<chain::Conflist> network = chain::parse_conflist(record->conflist, "VM " + name))
      networks.emplace(record->network, std::move(*network));
  }
  return networks;
}

// The one in the subnet of the default route's gateway, else the link's first.
Result<std::optional<Ip>> host_address(net::RouteSocket& host, Family family) {
  const std::optional<int> device = TRY(net::find_default_device(host, family));
  if (!device) return std::nullopt;
  const std::optional<net::Route> route = TRY(net::find_default_route(host, family));
  std::optional<Ip> first;
  for (const net::LinkAddress& own : TRY(net::list_addresses(host, *device, family))) {
    if (own.link_local || own.tentative || own.dad_failed) continue;
    if (route && route->device == *device && route->gateway && own.address.contains(*route->gateway))
      return own.address.ip;
    if (!first) first = own.address.ip;
  }
  return first;
}

std::string why_none(const NetworkFacts& facts) {
  if (facts.main_plugin == "slicer-isolated")
    return "its VMs take no connections from outside; slicer-run vm port-forward reaches them from this host";
  if (facts.main_plugin == "slicer-macvtap" || facts.main_plugin == "macvlan" || facts.main_plugin == "ipvlan")
    return "its VMs are devices of the LAN itself, with addresses of the LAN";
  if (facts.bridge.empty()) return fmt::format("{} makes no bridge of this host", facts.main_plugin);
  if (!facts.is_gateway) return "its bridge has no address of this host, so nothing is routed to it";
  return "its addresses come from " + (facts.ipam.empty() ? std::string("nobody") : facts.ipam) +
         ", whose subnet is not known here";
}

class Planner {
 public:
  Planner(net::RouteSocket& host, const std::vector<Ip>& via) : host_(host), via_(via) {}

  Result<void> add(const chain::Conflist& network, RoutePlan& plan) {
    const Result<NetworkFacts> facts = read_facts(network);
    if (!facts) {
      plan.routeless.push_back({network.name, "it cannot be read: " + facts.error().message});
      return {};
    }
    if (facts->bridge.empty() || !facts->is_gateway || !facts->pool || facts->pool->subnets.empty()) {
      plan.routeless.push_back({network.name, why_none(*facts)});
      return {};
    }
    const bool there = TRY(net::find_link_index(host_, facts->bridge)).has_value();
    for (const addr::Cidr& subnet : facts->pool->subnets) {
      OutsideRoute route;
      route.network = network.name;
      route.bridge = facts->bridge;
      route.bridge_is_there = there;
      route.subnet = subnet.network();
      route.via = TRY(via(subnet.family()));
      plan.routes.push_back(std::move(route));
    }
    return {};
  }

 private:
  Result<std::optional<Ip>> via(Family family) {
    const auto given = std::ranges::find(via_, family, &Ip::family);
    if (given != via_.end()) return *given;
    if (!known_.contains(family)) known_[family] = TRY(host_address(host_, family));
    return known_[family];
  }

  net::RouteSocket& host_;
  const std::vector<Ip>& via_;
  std::map<Family, std::optional<Ip>> known_ = {};
};

}  // namespace

Result<RoutePlan> plan_routes(const Settings& settings, const std::vector<Ip>& via) {
  net::RouteSocket host = TRY(net::RouteSocket::open());
  RoutePlan plan;
  Planner planner(host, via);
  for (const auto& [name, network] : TRY(all_networks(settings))) TRY(planner.add(network, plan));
  return plan;
}

std::string route_command(const OutsideRoute& route, RouteSyntax syntax) {
  const std::string subnet = route.subnet.text();
  const std::string via = route.via->text();
  const bool v4 = route.subnet.ip.is_v4();
  switch (syntax) {
    case RouteSyntax::kMacos:
      return fmt::format("sudo route -n add {} -net {} {}", v4 ? "-inet" : "-inet6", subnet, via);
    case RouteSyntax::kWindows:
      if (v4) return fmt::format("route add {} mask {} {}", route.subnet.ip.text(), route.subnet.mask().text(), via);
      return fmt::format("route -6 add {} {}", subnet, via);
    case RouteSyntax::kLinux:
      break;
  }
  return fmt::format("ip {}route add {} via {}", v4 ? "" : "-6 ", subnet, via);
}

}  // namespace slicer::runner
