#include "plugins/bridge/private_tap.h"

#include <fmt/core.h>

#include "lib/net/tap.h"
#include "lib/net/tc_redirect.h"
#include "plugins/bridge/host_veth.h"
#include "plugins/bridge/rate.h"

namespace slicer::bridge {
namespace {

Result<int> create_tap(Call& call, const GuestPlan& guest) {
  return net::create_tap(&call.sandbox->ns, call.sandbox->routes,
                         {.name = call.attachment.ifname,
                          .alias = call.attachment.alias(),
                          .mac = device_mac(call, "tap"),
                          .mtu_bytes = guest.mtu_bytes,
                          .link_group = call.attachment.group(),
                          .owner = call.config.owner.user,
                          .owner_group = call.config.owner.group,
                          .no_ipv6_link_local = true});
}

/// A veth's peer cannot be born up (drivers/net/veth.c, veth_open(): it has no peer yet then). It only passes frames on
/// and has no address of its own.
Result<int> bring_up_inner(Call& call) {
  net::RouteSocket& inside = call.sandbox->routes;
  const int inner = TRY(net::get_link_index(inside, call.attachment.kernel_name('x')));
  TRY(net::set_link(inside, inner, {.no_ipv6_link_local = true}));
  TRY(net::set_link(inside, inner, {.up = true}));
  return inner;
}

Error mismatch(const Call& call, const std::string& name, const std::string& cause) {
  return {.kind = Kind::kMismatch,
          .message = fmt::format("check link '{}' in '{}': {}", name, call.request.env.netns, cause),
          .hint = "delete the attachment and add it again"};
}

}  // namespace

Result<Attached> add_private_tap(Call& call, const Bridge& bridge, const GuestPlan& guest, Undo& undo) {
  net::Sandbox& sandbox = *call.sandbox;
  const HostVeth veth =
      TRY(add_host_veth(call, bridge, {.name = call.attachment.kernel_name('x'), .mac = device_mac(call, "inner")},
                        guest.mtu_bytes, undo));
  const int inner = TRY(bring_up_inner(call));
  const int tap = TRY(create_tap(call, guest));
  undo.push("delete tap", [&sandbox, tap] { return net::delete_link(sandbox.routes, tap, net::DeleteWait::kNotice); });
  TRY(guard_guest(sandbox.routes, tap, call.config, guest));
  TRY(net::ensure_redirect_pair(sandbox.routes, inner, tap));
  TRY(limit_inside(call, {.tap = tap, .inner = inner}, guest.mtu_bytes));
  TRY(attach_guest(call, bridge, veth.index, guest, undo));
  Attached attached;
  attached.interfaces.push_back({.name = call.config.bridge, .mac = bridge.mac.text(), .mtu = bridge.mtu_bytes});
  attached.interfaces.push_back({.name = veth.name, .mac = veth.mac.text(), .mtu = guest.mtu_bytes});
  append_tap_entries(attached, call,
                     {.name = call.attachment.ifname,
                      .mac = device_mac(call, "tap").text(),
                      .mtu = guest.mtu_bytes,
                      .sandbox = call.request.env.netns},
                     guest);
  return attached;
}

Result<void> check_private_tap(Call& call, const Bridge& bridge, const GuestPlan& guest) {
  net::RouteSocket& inside = call.sandbox->routes;
  const std::string inner_name = call.attachment.kernel_name('x');
  const std::optional<net::Link> tap = TRY(net::find_link(inside, call.attachment.ifname));
  if (!tap) return std::unexpected(mismatch(call, call.attachment.ifname, "no such link"));
  TRY(check_tap_link(call, *tap));
  const std::optional<net::Link> inner = TRY(net::find_link(inside, inner_name));
  if (!inner || !inner->up) return std::unexpected(mismatch(call, inner_name, inner ? "it is down" : "no such link"));
  const bool joined = TRY(net::has_redirect(inside, inner->index, tap->index)) &&
                      TRY(net::has_redirect(inside, tap->index, inner->index));
  if (!joined)
    return std::unexpected(mismatch(call, tap->name, fmt::format("no redirection to and from '{}'", inner_name)));
  TRY(check_guard(inside, *tap, call.config, guest));
  TRY(check_inside_limit(call, {.tap = tap->index, .inner = inner->index}, tap->mtu_bytes));
  const net::Link veth = TRY(check_host_veth(call, bridge));
  return check_guest(call, bridge, veth.index, guest);
}

}  // namespace slicer::bridge
