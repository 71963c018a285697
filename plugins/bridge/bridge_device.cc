#include "plugins/bridge/bridge_device.h"

#include <fmt/core.h>

#include "lib/base/hash.h"
#include "lib/net/bridge_port.h"
#include "lib/net/sysctl.h"

namespace slicer::bridge {
namespace {

/// Stable, so that the guests' neighbour tables survive a reboot of the host and the bridge's peers never stall.
addr::Mac bridge_mac(const Call& call) {
  return addr::local_mac(hash_names({call.machine_id, "bridge", call.attachment.network, call.config.bridge}));
}

Result<void> delete_unused(Call& call, int index) {
  if (!TRY(net::list_ports(call.host, index)).empty()) return {};
  return net::delete_link(call.host, index, net::DeleteWait::kNotice);
}

/// The kernel only says that it does not support something.
Error explain(Error error, const Config& config) {
  if (error.kind != Kind::kUnsupportedKernel || !config.uses_vlans()) return error;
  error.message = fmt::format("\"{}\" on bridge '{}': this kernel's bridges have no VLAN filtering ({})",
                              config.vlan != 0 ? "vlan" : "vlanTrunk", config.bridge, error.message);
  error.hint = "leave the VLAN keys out, or use a kernel with CONFIG_BRIDGE_VLAN_FILTERING";
  return error;
}

Result<Bridge> create(Call& call, Undo& undo) {
  const Config& config = call.config;
  const addr::Mac mac = bridge_mac(call);
  const int index = TRY(net::create_bridge(call.host, {.name = config.bridge,
                                                       .alias = cni::network_alias(call.attachment.network),
                                                       .mac = mac,
                                                       .mtu_bytes = config.mtu_bytes,
                                                       .vlan_filtering = config.uses_vlans()}));
  undo.push("delete bridge", [&call, index] { return delete_unused(call, index); });
  return Bridge{.index = index, .gateway_index = index, .mac = mac, .mtu_bytes = config.mtu_bytes, .created = true};
}

Error not_a_bridge(const net::Link& link) {
  return {.kind = Kind::kExists,
          .message = fmt::format("use bridge '{}': a link of kind '{}' has this name", link.name,
                                 link.kind.empty() ? "device" : link.kind),
          .hint = "choose another name in \"bridge\", or remove that link"};
}

/// What a bridge that is there already lacks of what this call needs.
Result<void> complete(Call& call, const net::Link& link, bool ours) {
  net::LinkChange change;
  if (!link.up) change.up = true;
  if (call.config.promiscuous && !link.promiscuous) change.promiscuous = true;
  // A process killed between the two messages of the creation leaves one without alias.
  if (ours && link.alias.empty()) change.alias = cni::network_alias(call.attachment.network);
  if (change.up || change.promiscuous || change.alias) TRY(net::set_link(call.host, link.index, change));
  if (!call.config.uses_vlans() || (link.bridge && link.bridge->vlan_filtering)) return {};
  const Result<void> set = net::set_vlan_filtering(call.host, link.index, true);
  if (!set) return std::unexpected(explain(set.error(), call.config));
  return {};
}

Result<net::Link> as_bridge(std::optional<net::Link> link, const std::string& name) {
  if (!link)
    return fail(Kind::kMismatch, fmt::format("check bridge '{}': no such link", name),
                "delete the attachment and add it again");
  if (link->kind != "bridge") return std::unexpected(not_a_bridge(*link));
  return std::move(*link);
}

}  // namespace

Result<Bridge> ensure_bridge(Call& call, Undo& undo) {
  std::optional<net::Link> found = TRY(net::find_link(call.host, call.config.bridge));
  Bridge made;
  if (!found) {
    Result<Bridge> created = create(call, undo);
    if (!created && created.error().kind != Kind::kExists)
      return std::unexpected(explain(std::move(created).error(), call.config));
    if (created) made = *created;
    found = TRY(net::get_link(call.host, call.config.bridge));  // ours, or that of a call that was faster
  }
  const net::Link link = TRY(as_bridge(std::move(found), call.config.bridge));
  const bool ours = link.mac == bridge_mac(call);
  TRY(complete(call, link, ours));
  if (ours) TRY(refuse_router_advertisements(link.name));
  return Bridge{.index = link.index,
                .gateway_index = link.index,
                .mac = link.mac,
                .mtu_bytes = link.mtu_bytes,
                .created = made.created};
}

Result<void> refuse_router_advertisements(const std::string& link) {
  const Result<std::optional<std::string>> set =
      net::ensure_sysctl(nullptr, "net/ipv6/conf/" + link + "/accept_ra", "0");
  if (!set && set.error().kind != Kind::kNotFound) return std::unexpected(set.error());  // absent: no IPv6 here
  return {};
}

Result<Bridge> check_bridge(Call& call) {
  const net::Link link = TRY(as_bridge(TRY(net::find_link(call.host, call.config.bridge)), call.config.bridge));
  if (!link.up)
    return fail(Kind::kMismatch, fmt::format("check bridge '{}': it is down", link.name),
                fmt::format("ip link set {} up", link.name));
  return Bridge{.index = link.index, .gateway_index = link.index, .mac = link.mac, .mtu_bytes = link.mtu_bytes};
}

Result<void> check_bridge_name(Call& call) {
  const std::optional<net::Link> link = TRY(net::find_link(call.host, call.config.bridge));
  if (link && link->kind != "bridge") return std::unexpected(not_a_bridge(*link));
  return {};
}

}  // namespace slicer::bridge
