#include "plugins/firewall/host_side.h"

#include <fmt/format.h>

namespace slicer::firewall {

Result<HostSide> find_host_side(net::RouteSocket& host, const cni::CniResult& result, const std::string& host_netns) {
  HostSide side;
  std::string absent;
  std::vector<net::Link> others;
  for (const cni::Interface& interface : result.interfaces) {
    const bool in_host = interface.sandbox.empty() || (!host_netns.empty() && interface.sandbox == host_netns);
    if (!in_host || interface.name == "lo") continue;  // a packet of a VM never passes the host by its loopback
    std::optional<net::Link> link = TRY(net::find_link(host, interface.name));
    if (!link) {
      absent = interface.name;
      continue;
    }
    side.present = true;
    if (link->kind == "bridge" && side.bridge.empty()) {
      side.bridge = link->name;
      side.bridge_index = link->index;
    } else {
      others.push_back(std::move(*link));
    }
  }
  if (!side.present && !absent.empty())
    return fail(Kind::kNotFound, fmt::format("find interface '{}' of prevResult on the host: no such link", absent),
                "run DEL and ADD again; something deleted it");
  for (const net::Link& link : others)
    if (!side.bridge.empty() && link.master == side.bridge_index) side.ports.push_back(link.index);
  return side;
}

}  // namespace slicer::firewall
