#include "plugins/firewall/host_side.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/net/address.h"

namespace slicer::firewall {
namespace {

Result<bool> has_address_in(net::RouteSocket& host, int link, const std::vector<addr::Cidr>& subnets) {
  for (const addr::Cidr& subnet : subnets)
    for (const net::LinkAddress& one : TRY(net::list_addresses(host, link, subnet.family())))
      if (subnet.contains(one.address.ip)) return true;
  return false;
}

bool is_number(const std::string& text) {
  return !text.empty() && std::ranges::all_of(text, [](char one) { return one >= '0' && one <= '9'; });
}

}  // namespace

Result<HostSide> find_host_side(net::RouteSocket& host, const cni::CniResult& result, const std::string& host_netns) {
  HostSide side;
  std::string absent;
  std::vector<net::Link> others;
  for (const cni::Interface& interface : result.interfaces) {
    const bool in_host = interface.sandbox.empty() || (!host_netns.empty() && interface.sandbox == host_netns);
    if (!in_host || interface.name == "lo") continue;  // a packet of a VM never passes the host by its loopback
    if (!interface.socket_path.empty()) continue;      // a vhost-user socket is no link of the kernel's
    std::optional<net::Link> link = TRY(net::find_link(host, interface.name));
    if (!link) {
      absent = interface.name;
      continue;
    }
    side.present = true;
    if (link->kind == "bridge" && side.bridge.empty()) {
      side.bridge = link->name;
      side.bridge_index = link->index;
      side.gateway = link->name;
      side.gateway_index = link->index;
    } else {
      others.push_back(std::move(*link));
    }
  }
  if (!side.present && !absent.empty())
    return fail(Kind::kNotFound, fmt::format("find interface '{}' of prevResult on the host: no such link", absent),
                "run DEL and ADD again; something deleted it");
  for (const net::Link& link : others) {
    if (side.bridge.empty()) side.ends.push_back(link);
    if (!side.bridge.empty() && link.master == side.bridge_index) side.ports.push_back(link.index);
  }
  return side;
}

Result<std::vector<net::Link>> list_vlan_gateways(net::RouteSocket& host, const std::string& bridge) {
  const std::string prefix = bridge + ".";
  std::vector<net::Link> links = TRY(net::list_links(host, prefix));
  std::erase_if(links, [&](const net::Link& link) { return !is_number(link.name.substr(prefix.size())); });
  return links;
}

Result<void> find_gateway(net::RouteSocket& host, HostSide& side, const std::vector<addr::Cidr>& subnets) {
  if (side.bridge.empty() || subnets.empty() || TRY(has_address_in(host, side.bridge_index, subnets))) return {};
  for (const net::Link& link : TRY(list_vlan_gateways(host, side.bridge))) {
    if (!TRY(has_address_in(host, link.index, subnets))) continue;
    side.gateway = link.name;
    side.gateway_index = link.index;
    return {};
  }
  return {};
}

}  // namespace slicer::firewall
