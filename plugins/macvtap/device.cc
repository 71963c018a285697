#include "plugins/macvtap/device.h"

#include <fmt/core.h>

#include "lib/net/sysctl.h"

namespace slicer::macvtap {
namespace {

/// By alias; a process killed after the creating message has not set it, and the group says whose it is.
bool is_ours(const Call& call, const net::Link& link) {
  if (link.kind != "macvtap") return false;
  return link.alias.empty() ? link.group == call.attachment.group() : link.alias == call.attachment.alias();
}

/// In passthru mode the guest has the parent's own MAC: another one the kernel would put on the parent, too.
std::optional<addr::Mac> wanted_mac(const Call& call) {
  if (call.config.mac) return call.config.mac;
  if (call.config.mode == net::MacvlanMode::kPassthru) return std::nullopt;
  return call.attachment.guest_mac(cni::machine_id());
}

/// Until the hypervisor opens the device, what arrives goes up the namespace's own stack: that must not take addresses
/// and routes from the LAN's router advertisements.
Result<void> close_ipv6(Call& call) {
  Result<void> closed =
      net::write_sysctl(&call.sandbox->ns, fmt::format("net/ipv6/conf/{}/disable_ipv6", call.attachment.ifname), "1");
  if (!closed && closed.error().kind == Kind::kNotFound) return {};  // no IPv6 here
  return closed;
}

}  // namespace

Result<void> refuse_name_in_use(Call& call) {
  if (!TRY(net::find_link_index(call.sandbox->routes, call.attachment.ifname))) return {};
  return fail(
      Kind::kExists,
      fmt::format("create '{}' in '{}': a link of this name exists", call.attachment.ifname, call.request.env.netns),
      "set another CNI_IFNAME, or delete the attachment that made it");
}

Result<net::Link> add_device(Call& call, const net::Link& parent, Undo& undo) {
  const std::optional<addr::Mac> mac = wanted_mac(call);
  net::RouteSocket& routes = call.sandbox->routes;
  TRY(net::create_macvtap(call.host, call.sandbox->ns,
                          {.name = call.attachment.ifname,
                           .parent = parent.index,
                           .mode = call.config.mode,
                           .mac = mac,
                           .mtu_bytes = call.config.mtu_bytes,
                           .group = call.attachment.group()})
          .context(fmt::format("attach to '{}'", parent.name))
          .hint("see `ip -d link` for what else stands on the parent; a bridge, bond or ipvlan shares it with no "
                "macvtap, and one in mode 'passthru' with nobody"));
  const int index = TRY(net::get_link_index(routes, call.attachment.ifname));
  undo.push("delete macvtap", [&routes, index] { return net::delete_link(routes, index, net::DeleteWait::kNotice); });
  TRY(close_ipv6(call));
  TRY(net::raise_macvtap(routes, index, call.attachment.alias())
          .context(fmt::format("attach to '{}'", parent.name))
          .hint("another link of the same parent has the guest's MAC: ask for another one"));
  return net::get_link(routes, index);
}

Result<void> delete_device(Call& call) {
  if (!call.sandbox) return {};
  const std::optional<net::Link> link = TRY(net::find_link(call.sandbox->routes, call.attachment.ifname));
  if (!link || !is_ours(call, *link)) return {};
  return net::delete_link(call.sandbox->routes, link->index, net::DeleteWait::kNotice);
}

}  // namespace slicer::macvtap
