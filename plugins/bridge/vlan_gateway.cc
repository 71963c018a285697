#include "plugins/bridge/vlan_gateway.h"

#include <fmt/core.h>

#include "lib/base/hash.h"
#include "lib/net/bridge_port.h"
#include "plugins/bridge/guest_port.h"

namespace slicer::bridge {
namespace {

bool wanted(const Config& config) { return config.vlan != 0 && config.is_gateway; }

/// Stable as the bridge's, so that the guests' neighbour tables survive a reboot of the host.
addr::Mac gateway_mac(const Call& call) {
  return addr::local_mac(
      hash_names({call.machine_id, "vlan gateway", call.attachment.network, vlan_gateway_name(call.config)}));
}

/// The network's, not one attachment's: named by the network and the VLAN.
std::string port_name(const Call& call) {
  const cni::Attachment link{
      .network = call.attachment.network, .container_id = call.config.bridge, .ifname = vlan_gateway_name(call.config)};
  return link.kernel_name('g');
}

Result<void> create(Call& call, const Bridge& bridge, Undo& undo) {
  const int port = TRY(net::create_veth(
      call.host, {.here = {.name = port_name(call)},
                  .master = bridge.index,
                  .alias = cni::network_alias(call.attachment.network),
                  .peer = {.name = vlan_gateway_name(call.config), .mac = gateway_mac(call), .up = false}}));
  undo.push("delete vlan gateway", [&call, port, index = bridge.index]() -> Result<void> {
    if (TRY(net::list_ports(call.host, index)).size() > 1) return {};
    return net::delete_link(call.host, port, net::DeleteWait::kNotice);
  });
  return {};
}

/// What a process killed after the creation has not done.
Result<void> complete(Call& call, const std::string& name) {
  if (const auto port = TRY(net::find_link_index(call.host, port_name(call)))) TRY(set_access_vlan(call, *port));
  return refuse_router_advertisements(name);
}

}  // namespace

std::string vlan_gateway_name(const Config& config) { return fmt::format("{}.{}", config.bridge, config.vlan); }

std::string gateway_link(const Config& config) { return wanted(config) ? vlan_gateway_name(config) : config.bridge; }

Result<void> ensure_vlan_gateway(Call& call, Bridge& bridge, Undo& undo) {
  if (!wanted(call.config)) return {};
  const std::string name = vlan_gateway_name(call.config);
  if (!TRY(net::find_link_index(call.host, name))) TRY(create(call, bridge, undo));
  TRY(complete(call, name));
  bridge.gateway_index = TRY(net::get_link_index(call.host, name));
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
