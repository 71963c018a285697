#include "plugins/bridge/host_tap.h"

#include <fmt/core.h>

#include "lib/net/tap.h"
#include "plugins/bridge/rate.h"

namespace slicer::bridge {
namespace {

Error mismatch(const Call& call, const std::string& cause) {
  return {.kind = Kind::kMismatch,
          .message = fmt::format("check tap '{}' in '{}': {}", call.attachment.ifname, call.request.env.netns, cause),
          .hint = "delete the attachment and add it again"};
}

}  // namespace

void append_tap_entries(Attached& attached, const Call& call, const cni::Interface& tap, const GuestPlan& guest) {
  attached.interfaces.push_back(tap);
  attached.guest = static_cast<int>(attached.interfaces.size());
  attached.interfaces.push_back(
      {.name = tap.name, .mac = guest.mac.text(), .mtu = tap.mtu, .sandbox = call.attachment.container_id});
}

Result<Attached> add_host_tap(Call& call, const Bridge& bridge, const GuestPlan& guest, Undo& undo) {
  const cni::Attachment& attachment = call.attachment;
  const addr::Mac mac = device_mac(call, "tap");
  const int index = TRY(net::create_tap(nullptr, call.host,
                                        {.name = attachment.ifname,
                                         .alias = attachment.alias(),
                                         .mac = mac,
                                         .mtu_bytes = guest.mtu_bytes,
                                         .master = bridge.index,
                                         .owner = call.config.owner.user,
                                         .owner_group = call.config.owner.group,
                                         .no_ipv6_link_local = true}));
  undo.push("delete tap", [&call, index] { return net::delete_link(call.host, index, net::DeleteWait::kNotice); });
  TRY(attach_guest(call, bridge, index, guest, undo));
  TRY(guard_guest(call.host, index, call.config, guest));
  TRY(limit_port(call, index, guest.mtu_bytes, undo));
  Attached attached;
  attached.interfaces.push_back({.name = call.config.bridge, .mac = bridge.mac.text(), .mtu = bridge.mtu_bytes});
  append_tap_entries(
      attached, call,
      {.name = attachment.ifname, .mac = mac.text(), .mtu = guest.mtu_bytes, .sandbox = call.request.env.netns}, guest);
  return attached;
}

Result<void> check_tap_link(const Call& call, const net::Link& link) {
  if (link.kind != "tun" || !link.tun || !link.tun->tap) return std::unexpected(mismatch(call, "it is no TAP"));
  if (link.alias != call.attachment.alias() && link.group != call.attachment.group())
    return std::unexpected(mismatch(call, "it belongs to another attachment"));
  if (!link.tun->persistent) return std::unexpected(mismatch(call, "it is not persistent"));
  // Not which one: the runtime may ask without the CNI_ARGS that named it.
  if (!link.tun->owner) return std::unexpected(mismatch(call, "it has no owner, any user could open it"));
  if (!link.up) return std::unexpected(mismatch(call, "it is down"));
  return {};
}

Result<void> check_host_tap(Call& call, const Bridge& bridge, const GuestPlan& guest) {
  const std::optional<net::Link> link = TRY(net::find_link(call.host, call.attachment.ifname));
  if (!link) return std::unexpected(mismatch(call, "no such link"));
  TRY(check_tap_link(call, *link));
  if (link->master != bridge.index)
    return std::unexpected(mismatch(call, fmt::format("it is no port of bridge '{}'", call.config.bridge)));
  TRY(check_guest(call, bridge, link->index, guest));
  TRY(check_guard(call.host, *link, call.config, guest));
  return check_port_limit(call, *link);
}

Result<void> delete_host_tap(Call& call) {
  const std::optional<net::Link> link = TRY(net::find_link(call.host, call.attachment.ifname));
  if (!link || link->alias != call.attachment.alias()) return {};
  return net::delete_link(call.host, link->index, net::DeleteWait::kNotice);
}

}  // namespace slicer::bridge
