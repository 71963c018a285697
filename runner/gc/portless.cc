#include "runner/gc/portless.h"

#include <algorithm>

#include "lib/net/bridge_port.h"
#include "lib/net/link.h"

namespace slicer::runner {

Result<std::vector<DeadNeighbours>> remove_dead_neighbours() {
  net::RouteSocket host = TRY(net::RouteSocket::open());
  std::vector<DeadNeighbours> removed;
  for (const net::Link& link : TRY(net::list_links(host, ""))) {
    if (link.kind != "bridge") continue;
    const unsigned count = TRY(net::remove_dead_neighbours(host, link.index));
    if (count != 0) removed.push_back({.bridge = link.name, .count = count});
  }
  return removed;
}

// An ifb is made after its port, and bears the same alias.
Result<std::vector<std::string>> remove_portless_ifbs() {
  net::RouteSocket host = TRY(net::RouteSocket::open());
  const std::vector<net::Link> links = TRY(net::list_links(host, ""));
  std::vector<std::string> removed;
  for (const net::Link& ifb : links) {
    if (ifb.kind != "ifb" || !ifb.alias.starts_with("slicer:")) continue;
    const auto is_port = [&](const net::Link& one) { return one.index != ifb.index && one.alias == ifb.alias; };
    if (std::ranges::any_of(links, is_port)) continue;
    TRY(net::delete_link(host, ifb.index, net::DeleteWait::kNotice));
    removed.push_back(ifb.name);
  }
  return removed;
}

}  // namespace slicer::runner
