#pragma once
// Where an attachment's packets pass the host.

#include <string>
#include <vector>

#include "lib/cni/result_types.h"
#include "lib/net/link.h"

namespace slicer::firewall {

/// The host's side of an attachment, as prevResult tells it.
struct HostSide {
  bool present = false;     ///< an interface of it is in the host at all
  std::string bridge = {};  ///< empty: routed (ptp)
  int bridge_index = 0;
  /// Where the host's packets to and from the bridge's VMs pass: the bridge, or a VLAN's own link ("br0.10").
  std::string gateway = {};
  int gateway_index = 0;
  std::vector<int> ports = {};       ///< the attachment's own ports of the bridge
  std::vector<net::Link> ends = {};  ///< without a bridge: its links
};

/// Looks the interfaces without sandbox up; the TAP of the host's own namespace has `host_netns` as sandbox. Error:
/// kNotFound when all of them are gone.
Result<HostSide> find_host_side(net::RouteSocket& host, const cni::CniResult& result, const std::string& host_netns);

/// Names the link of the VLAN as the gateway when that has an address in one of the VMs' subnets and the bridge has
/// none:
/// "<bridge>.<vlan>", as upstream's bridge and slicer-bridge make it.
Result<void> find_gateway(net::RouteSocket& host, HostSide& side, const std::vector<addr::Cidr>& subnets);

/// The links of the host's into VLANs of the bridge.
Result<std::vector<net::Link>> list_vlan_gateways(net::RouteSocket& host, const std::string& bridge);

}  // namespace slicer::firewall
