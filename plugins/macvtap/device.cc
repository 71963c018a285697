#include "plugins/macvtap/device.h"

#include <fmt/core.h>

#include <algorithm>

#include "lib/net/netns_find.h"
#include "lib/net/sysctl.h"
#include "lib/net/tc_guard.h"
#include "plugins/macvtap/rate.h"

namespace slicer::macvtap {
namespace {

/// By alias; a process killed after the creating message has not set it, and the group says whose it is.
bool belongs_to(const net::Link& link, const cni::Attachment& attachment) {
  if (link.kind != "macvtap") return false;
  return link.alias.empty() ? link.group == attachment.group_in_network() : link.alias == attachment.alias();
}

bool belongs_to(const net::Link& link, const std::string& network) {
  if (link.kind != "macvtap") return false;
  return link.alias.empty() ? cni::is_group_in_network(link.group, network)
                            : link.alias.starts_with(cni::Attachment{.network = network}.alias_prefix());
}

/// In passthru mode the guest has the parent's own MAC.
std::optional<addr::Mac> wanted_mac(const Call& call) {
  if (call.config.mode == net::MacvlanMode::kPassthru) return std::nullopt;
  return call.config.mac ? *call.config.mac : call.attachment.guest_mac(cni::machine_id());
}

/// Who asks for another one gets it on the parent, too; the kernel gives that its own back when the macvtap goes.
Result<void> pass_mac_through(Call& call, int index) {
  if (call.config.mode != net::MacvlanMode::kPassthru || !call.config.mac) return {};
  return net::set_link(call.sandbox->routes, index, {.mac = call.config.mac});
}

/// Until the hypervisor opens the device, what arrives goes up the namespace's own stack: that must not take addresses
/// and routes from the LAN's router advertisements.
Result<void> close_ipv6(Call& call) {
  Result<void> closed =
      net::write_sysctl(&call.sandbox->ns, fmt::format("net/ipv6/conf/{}/disable_ipv6", call.attachment.ifname), "1");
  if (!closed && closed.error().kind == Kind::kNotFound) return {};  // no IPv6 here
  return closed;
}

net::GuardSpec guard_of(const Call& call, const GuestPlan& guest) {
  return {.mac = guest.mac,
          .sources = guest.ips,
          .check_sources = call.config.guard_ip && !guest.ips.empty(),
          .egress = true};
}

/// The link that the kernel put it on: a macvlan as "parent" stands for the one below it (drivers/net/macvlan.c,
/// macvlan_common_newlink()). A "parent" that nobody named may have been another one at the time.
Result<void> check_parent(Call& call, const net::Link& device) {
  if (call.config.parent.empty()) return {};
  const std::optional<net::Link> parent = TRY(net::find_link(call.host, call.config.parent));
  const auto stands_on = [&](int index) { return device.peer_index == index && device.peer_netnsid; };
  if (parent && (stands_on(parent->index) || (parent->macvlan_mode && stands_on(parent->peer_index)))) return {};
  return mismatch(fmt::format("macvtap '{}'", device.name),
                  fmt::format("it does not stand on '{}'", call.config.parent));
}

/// Whether GC may delete it.
bool is_stale(const net::Link& link, const std::string& network, const std::vector<cni::ValidAttachment>& valid) {
  if (!belongs_to(link, network) && !is_ifb_of(link, network)) return false;
  return std::ranges::none_of(valid, [&](const cni::ValidAttachment& one) {
    const cni::Attachment attachment{network, one.container_id, one.ifname};
    return belongs_to(link, attachment) || is_ifb_of(link, attachment);
  });
}

Result<void> delete_stale_in(const net::Netns& ns, const std::string& network,
                             const std::vector<cni::ValidAttachment>& valid) {
  net::RouteSocket routes = TRY(net::RouteSocket::open_in(ns));
  Result<void> first_error;
  for (const net::Link& link : TRY(net::list_links(routes, ""))) {
    if (!is_stale(link, network, valid)) continue;
    Result<void> done = net::delete_link(routes, link.index, net::DeleteWait::kNotice);
    if (!done && first_error) first_error = std::move(done);
  }
  return first_error;
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
                           .group = call.attachment.group_in_network()})
          .context(fmt::format("attach to '{}'", parent.name)));
  const int index = TRY(net::get_link_index(routes, call.attachment.ifname));
  undo.push("delete macvtap", [&routes, index] { return net::delete_link(routes, index, net::DeleteWait::kNotice); });
  TRY(pass_mac_through(call, index));
  TRY(close_ipv6(call));
  TRY(net::raise_macvtap(routes, index, call.attachment.alias()).context(fmt::format("attach to '{}'", parent.name)));
  return net::get_link(routes, index);
}

Result<void> guard_device(Call& call, const net::Link& device, const GuestPlan& guest) {
  if (!call.config.guard_mac) return {};
  return net::ensure_guard(call.sandbox->routes, device.index, guard_of(call, guest));
}

Result<void> check_device(Call& call, const GuestPlan& guest) {
  const std::string what = fmt::format("macvtap '{}'", call.attachment.ifname);
  const std::optional<net::Link> link = TRY(net::find_link(call.sandbox->routes, call.attachment.ifname));
  if (!link) return mismatch(what, "no such link");
  if (link->kind != "macvtap" || link->alias != call.attachment.alias()) return mismatch(what, "it is somebody else's");
  if (!link->up) return mismatch(what, "it is down");
  if (link->mac != guest.mac)
    return mismatch(what, fmt::format("its MAC is '{}' and the guest's '{}'", link->mac.text(), guest.mac.text()));
  if (link->macvlan_mode != static_cast<uint32_t>(call.config.mode)) return mismatch(what, "its mode has been changed");
  if (call.config.mtu_bytes != 0 && link->mtu_bytes != call.config.mtu_bytes)
    return mismatch(what, fmt::format("its MTU is {}", link->mtu_bytes));
  TRY(check_parent(call, *link));
  if (call.config.guard_mac && !TRY(net::has_guard(call.sandbox->routes, link->index, guard_of(call, guest))))
    return mismatch(fmt::format("anti-spoofing filter on '{}'", link->name), "absent or changed");
  return check_limit(call, *link);
}

Result<void> delete_stale_devices(const std::string& network, const std::vector<cni::ValidAttachment>& valid) {
  Result<void> first_error;
  for (const net::Netns& ns : net::list_named_netns())
    if (Result<void> done = delete_stale_in(ns, network, valid); !done && first_error) first_error = std::move(done);
  return first_error;
}

Result<void> delete_device(Call& call) {
  if (!call.sandbox) return {};
  const std::optional<net::Link> link = TRY(net::find_link(call.sandbox->routes, call.attachment.ifname));
  if (!link || !belongs_to(*link, call.attachment)) return {};
  return net::delete_link(call.sandbox->routes, link->index, net::DeleteWait::kNotice);
}

}  // namespace slicer::macvtap
