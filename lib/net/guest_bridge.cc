#include "lib/net/guest_bridge.h"

#include <algorithm>
#include <set>

#include "lib/net/neighbour.h"

namespace slicer::net {
namespace {

/// Whose a link is. The alias of an attachment goes on behind the network's name, with '/'.
struct Owner {
  std::string network = {};
  bool attachment = false;
};

Owner owner_of(const Link& link, std::string_view prefix) {
  if (!link.alias.starts_with(prefix)) return {};
  const std::string rest = link.alias.substr(prefix.size());
  const size_t end = rest.find('/');
  return {.network = rest.substr(0, end), .attachment = end != std::string::npos};
}

bool is_vlan_gateway(const std::string& name, const std::string& bridge) {
  if (!name.starts_with(bridge + ".") || name.size() == bridge.size() + 1) return false;
  return name.find_first_not_of("0123456789", bridge.size() + 1) == std::string::npos;
}

Result<bool> has_neighbours(RouteSocket& ns, int link) {
  if (!TRY(list_neighbours(ns, link)).empty()) return true;
  return !TRY(list_proxy_neighbours(ns, link)).empty();
}

/// The networks of the attachments on a bridge.
std::set<std::string> networks_on(const std::vector<Link>& links, int bridge, std::string_view prefix) {
  std::set<std::string> networks;
  for (const Link& port : links) {
    if (port.master != bridge) continue;
    if (const Owner owner = owner_of(port, prefix); owner.attachment) networks.insert(owner.network);
  }
  return networks;
}

/// Whose a VLAN gateway is: its other end, a port of the bridge, has the network's alias. Empty: not of ours.
std::string network_of_gateway(const std::vector<Link>& links, const Link& gateway, int bridge,
                               std::string_view prefix) {
  const auto port = std::ranges::find(links, gateway.peer_index, &Link::index);
  if (port == links.end() || port->master != bridge) return {};
  return owner_of(*port, prefix).network;
}

Result<void> look_at(RouteSocket& ns, const std::vector<Link>& links, const Link& bridge, std::string_view prefix,
                     std::vector<GuestBridge>& found) {
  const std::set<std::string> guests = networks_on(links, bridge.index, prefix);
  std::set<std::string> untagged = guests;
  for (const Link& link : links) {
    if (!is_vlan_gateway(link.name, bridge.name)) continue;
    const std::string network = network_of_gateway(links, link, bridge.index, prefix);
    untagged.erase(network);
    const bool has_guests = guests.contains(network) || TRY(has_neighbours(ns, link.index));
    if (has_guests || !network.empty())
      found.push_back({.link = link.name, .network = network, .has_guests = has_guests});
  }
  std::string network = owner_of(bridge, prefix).network;
  if (network.empty() && !untagged.empty()) network = *untagged.begin();
  const bool has_guests = !untagged.empty() || TRY(has_neighbours(ns, bridge.index));
  if (has_guests || !network.empty())
    found.push_back({.link = bridge.name, .network = network, .has_guests = has_guests});
  return {};
}

}  // namespace

Result<std::vector<GuestBridge>> list_guest_bridges(RouteSocket& ns, std::string_view prefix) {
  const std::vector<Link> links = TRY(list_links(ns, ""));
  std::vector<GuestBridge> found;
  for (const Link& link : links)
    if (link.kind == "bridge") TRY(look_at(ns, links, link, prefix, found));
  return found;
}

}  // namespace slicer::net
