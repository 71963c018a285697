#include "plugins/tap/device.h"

#include <fmt/core.h>

#include <utility>

namespace slicer::tap {

Result<net::Link> make_tap(Call& call, const TapPlan& plan, Undo& undo) {
  net::RouteSocket& routes = call.sandbox->routes;
  const int index = TRY(net::create_tap(&call.sandbox->ns, routes,
                                        {.name = plan.name,
                                         .alias = call.attachment.alias(),
                                         .mac = plan.mac,
                                         .mtu_bytes = plan.mtu_bytes,
                                         .master = plan.master,
                                         .link_group = call.link_group(),
                                         .owner = call.config.owner.user,
                                         .owner_group = call.config.owner.group,
                                         .multi_queue = call.config.multi_queue,
                                         .selinux_label = call.config.selinux_label,
                                         .no_ipv6_link_local = plan.no_ipv6_link_local}));
  undo.push("delete tap", [&routes, index] { return net::delete_link(routes, index, net::DeleteWait::kNotice); });
  return net::get_link(routes, index);
}

std::string tap_difference(const Call& call, const net::Link& tap, const WantedTap& wanted) {
  const cni::TapOwner& owner = call.config.owner;
  if (!tap.up) return "it is down";
  if (!tap.tun || !tap.tun->tap || !tap.tun->persistent) return "it is no persistent TAP";
  if (!tap.tun->vnet_hdr && !wanted.upstreams) return "it has no virtio-net header";
  if (tap.tun->multi_queue != call.config.multi_queue)
    return tap.tun->multi_queue ? "it has several queues" : "it has one queue";
  if (tap.tun->owner != owner.user && !(wanted.upstreams && !tap.tun->owner && owner.user == 0u))
    return owner.user ? fmt::format("its owner is not {}", *owner.user) : "it has an owner";
  // Root's group opens nothing to anybody: tc-redirect-tap sets its own, which is that.
  if (tap.tun->group != owner.group && (owner.group || tap.tun->group != 0u))
    return owner.group ? fmt::format("its group is not {}", *owner.group) : "it has a group";
  if (tap.mtu_bytes != wanted.mtu_bytes)
    return fmt::format("its MTU is {} instead of {}", tap.mtu_bytes, wanted.mtu_bytes);
  if (tap.master == wanted.master) return "";
  return wanted.master == 0 ? "it is a port of another link" : fmt::format("it is no port of '{}'", call.config.bridge);
}

net::GuardSpec guard_of(const Call& call, const addr::Mac& mac, std::vector<addr::Ip> ips) {
  const bool known = !ips.empty();
  return {.mac = mac, .sources = std::move(ips), .check_sources = call.config.guard_ip && known};
}

Result<void> ensure_guard(Call& call, const net::Link& tap, const net::GuardSpec& guard) {
  net::RouteSocket& routes = call.sandbox->routes;
  if (!call.config.guard_mac || TRY(net::has_guard(routes, tap.index, guard))) return {};
  return net::ensure_guard(routes, tap.index, guard);
}

Result<void> check_guard(Call& call, const net::Link& tap, const net::GuardSpec& guard) {
  if (!call.config.guard_mac || TRY(net::has_guard(call.sandbox->routes, tap.index, guard))) return {};
  return mismatch(fmt::format("anti-spoofing filter on '{}'", tap.name), "absent or changed");
}

}  // namespace slicer::tap
