#include "plugins/bridge/vlan_gateway.h"

#include <fmt/core.h>

#include "lib/net/bridge_port.h"
#include "plugins/bridge/guest_port.h"

namespace slicer::bridge {
namespace {

bool wanted(const Config& config) { return config.vlan != 0 && config.is_gateway; }

Result<int> create(Call& call, const Bridge& bridge, Undo& undo) {
  const std::string name = vlan_gateway_name(call.config);
  // The network's, not one attachment's: named by the network and the VLAN.
  const cni::Attachment link{.network = call.attachment.network, .container_id = call.config.bridge, .ifname = name};
  const int port = TRY(net::create_veth(call.host, {.here = {.name = link.kernel_name('g')},
                                                    .master = bridge.index,
                                                    .alias = cni::network_alias(link.network),
                                                    .peer = {.name = name, .up = false}}));
  undo.push("delete vlan gateway", [&call, port, index = bridge.index]() -> Result<void> {
    if (TRY(net::list_ports(call.host, index)).size() > 1) return {};
    return net::delete_link(call.host, port, net::DeleteWait::kNotice);
  });
  TRY(set_port_vlans(call, port));
  return net::get_link_index(call.host, name);
}

}  // namespace

std::string vlan_gateway_name(const Config& config) { return fmt::format("{}.{}", config.bridge, config.vlan); }

Result<void> ensure_vlan_gateway(Call& call, Bridge& bridge, Undo& undo) {
  if (!wanted(call.config)) return {};
  const std::optional<int> found = TRY(net::find_link_index(call.host, vlan_gateway_name(call.config)));
  bridge.gateway_index = found ? *found : TRY(create(call, bridge, undo));
  return net::set_link(call.host, bridge.gateway_index, {.up = true});
}

Result<void> check_vlan_gateway(Call& call, Bridge& bridge) {
  if (!wanted(call.config)) return {};
  const std::string name = vlan_gateway_name(call.config);
  const std::optional<net::Link> link = TRY(net::find_link(call.host, name));
  if (!link || !link->up)
    return fail(Kind::kMismatch, fmt::format("check link '{}': {}", name, link ? "it is down" : "no such link"),
                "delete the attachment and add it again");
  bridge.gateway_index = link->index;
  return {};
}

}  // namespace slicer::bridge
