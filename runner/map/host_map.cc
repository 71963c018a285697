#include "runner/map/host_map.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "lib/base/log.h"
#include "lib/net/address.h"
#include "lib/net/bridge_port.h"
#include "lib/net/link.h"
#include "lib/net/route.h"
#include "runner/networks/policy_view.h"
#include "runner/view/vm_view.h"

namespace slicer::runner {
namespace {

std::string host_name() {
  std::array<char, 256> name = {};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "host";
}

// What a picture has room for.
std::string policy_text(const VmView& view) {
  if (view.state != "running") return "";
  const Result<PolicyView> seen = policy_of(view.record);
  if (!seen) return "";
  return policy_summary(*seen);
}

MapVm vm_of(const VmView& view) {
  return {.name = view.record.name,
          .group = view.record.group,
          .state = std::string(view.state) + (view.record.link_gone ? ", no link" : ""),
          .network = view.record.network,
          .addresses = all_addresses(view.record),
          .policy = policy_text(view)};
}

class Drawing {
 public:
  explicit Drawing(net::RouteSocket& host) : host_(host) {}

  Result<void> add_vm(const VmView& view) {
    MapBranch branch;
    branch.path = TRY(trace_vm(host_, view.record));
    branch.vm = vm_of(view);
    MapAnchor& anchor = anchor_of(branch.path.anchor_kind, branch.path.anchor);
    if (std::ranges::find(anchor.networks, view.record.network) == anchor.networks.end())
      anchor.networks.push_back(view.record.network);
    known_links_.insert(branch.path.host_link);
    anchor.branches.push_back(std::move(branch));
    return {};
  }

  // Bridges of ours without a VM, and what else hangs on those that are drawn.
  Result<void> add_rest() {
    constexpr std::string_view kOurs = "slicer:";
    for (const net::Link& link : TRY(net::list_links(host_, ""))) {
      if (link.kind != "bridge" || !link.alias.starts_with(kOurs)) continue;
      MapAnchor& anchor = anchor_of(AnchorKind::kBridge, link.name);
      const std::string network = link.alias.substr(kOurs.size());
      if (std::ranges::find(anchor.networks, network) == anchor.networks.end()) anchor.networks.push_back(network);
    }
    for (auto& [key, anchor] : anchors_) {
      TRY(add_facts(anchor));
      if (anchor.kind == AnchorKind::kBridge) TRY(add_strangers(anchor));
    }
    return {};
  }

  std::vector<MapAnchor> take() {
    std::vector<MapAnchor> anchors;
    for (auto& [key, anchor] : anchors_) anchors.push_back(std::move(anchor));
    return anchors;
  }

 private:
  // Sorted as they are shown: nothing at the end.
  static int order(AnchorKind kind) {
    switch (kind) {
      case AnchorKind::kBridge:
        return 0;
      case AnchorKind::kParent:
        return 1;
      case AnchorKind::kRouted:
        return 2;
      case AnchorKind::kNone:
        break;
    }
    return 3;
  }

  MapAnchor& anchor_of(AnchorKind kind, const std::string& name) {
    MapAnchor& anchor = anchors_[{order(kind), name}];
    anchor.kind = kind;
    anchor.name = name;
    return anchor;
  }

  Result<void> add_facts(MapAnchor& anchor) {
    if (anchor.name.empty()) return {};
    const std::optional<net::Link> link = TRY(net::find_link(host_, anchor.name));
    if (!link) return {};
    anchor.up = link->up;
    for (const addr::Family family : {addr::Family::kIpv4, addr::Family::kIpv6}) {
      for (const net::LinkAddress& own : TRY(net::list_addresses(host_, link->index, family)))
        if (!own.link_local) anchor.addresses.push_back(own.address.text());
      const std::optional<int> device = TRY(net::find_default_device(host_, family));
      anchor.default_route = anchor.default_route || device == link->index;
    }
    return {};
  }

  Result<void> add_strangers(MapAnchor& anchor) {
    const std::optional<net::Link> bridge = TRY(net::find_link(host_, anchor.name));
    if (!bridge || bridge->kind != "bridge") return {};
    for (const int index : TRY(net::list_ports(host_, bridge->index))) {
      const std::optional<net::Link> port = TRY(net::find_link(host_, index));
      if (!port || known_links_.contains(port->name)) continue;
      MapBranch branch;
      branch.path.host_link = port->name;
      branch.path.tap_kind = port->kind == "tun" ? "tap" : port->kind;
      branch.path.up = port->up;
      branch.path.anchor_kind = anchor.kind;
      branch.path.anchor = anchor.name;
      branch.owner = port->alias;
      anchor.branches.push_back(std::move(branch));
    }
    return {};
  }

  net::RouteSocket& host_;
  std::map<std::pair<int, std::string>, MapAnchor> anchors_ = {};
  std::set<std::string> known_links_ = {};
};

}  // namespace

Result<HostMap> draw_map(const Settings& settings) {
  net::RouteSocket host = TRY(net::RouteSocket::open());
  Drawing drawing(host);
  for (const VmView& view : TRY(look_at_vms(settings)))
    TRY(drawing.add_vm(view).context("look at the links of VM '" + view.record.name + "'"));
  TRY(drawing.add_rest());
  return HostMap{.host = host_name(), .anchors = drawing.take()};
}

}  // namespace slicer::runner
