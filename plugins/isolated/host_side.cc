#include "plugins/isolated/host_side.h"

#include <fmt/core.h>

#include <utility>

#include "lib/base/log.h"
#include "lib/cni/repeated.h"
#include "lib/net/guest_bridge.h"
#include "lib/net/neighbour.h"
#include "lib/net/netns_find.h"
#include "lib/net/route.h"
#include "lib/net/sysctl.h"
#include "lib/netfilter/backend.h"

namespace slicer::isolated {
namespace {

constexpr addr::Family kFamily = addr::Family::kIpv4;

/// For a host on which the set `bridges` came after the bridges, or was emptied. `all`: those without a VM, too.
Result<std::vector<netfilter::ListedBridge>> list_bridges(net::RouteSocket& host, bool all) {
  std::vector<netfilter::ListedBridge> bridges;
  for (net::GuestBridge& bridge : TRY(net::list_guest_bridges(host, cni::network_alias(""))))
    if (all || bridge.has_guests)
      bridges.push_back({.name = std::move(bridge.link), .network = std::move(bridge.network)});
  return bridges;
}

/// An isolated VM of any network, or where not even the set of bridges is left, a bridge with VMs.
Result<bool> has_attachments(Call& call, bool everything) {
  if (!TRY(net::list_links(call.host, netfilter::kIsolatedLinks)).empty()) return true;
  return everything && !TRY(list_bridges(call.host, false)).empty();
}

void tell_of_loss(const Call& call, const netfilter::LossWatch& watch) {
  if (watch.lost) log_line(netfilter::loss_text(call.attachment.network));
}

/// The network is new here: is there a way out for its VMs?
Result<void> tell_of_closed_way(Call& call) {
  const std::optional<int> device = TRY(net::find_default_device(call.host, kFamily));
  if (!device) return {};
  const std::optional<net::Link> link = TRY(net::find_link(call.host, *device));
  if (!link || !TRY(netfilter::is_closed_to_isolated(link->name))) return {};
  log_line(
      fmt::format("VMs of network '{}' have no way out: the host's default route leaves by '{}', which is a bridge "
                  "of VMs or called sl…, and closed to isolated ones; give slicer-bridge a bridge of its own",
                  call.attachment.network, link->name));
  return {};
}

net::Route guest_route(int device, const addr::Ip& guest) {
  return {.destination = {.ip = guest, .prefix = addr::bits_of(kFamily)}, .device = device};
}

/// Which blocks another IPAM will give nobody knows: the names of the links say it for all of them.
netfilter::NetworkRules network_rules(const Call& call, const addr::Cidr& range) {
  if (!call.config.own_ipam)
    return {.network = call.attachment.network, .masquerade_links = call.attachment.kernel_name_prefix('s')};
  return {.network = call.attachment.network, .masquerade = {range}};
}

/// Where nothing says another it goes with the VM's other rules.
std::unique_ptr<netfilter::Backend> masquerade_backend(const Call& call) {
  const bool follows = call.config.masq_backend == netfilter::BackendName::kAuto;
  return netfilter::make_backend(follows ? call.place : call.config.masq_backend, call.legacy_tables);
}

/// By its name, which nobody else uses, and its alias, which a process killed after the creating message has not set.
Result<std::optional<net::Link>> find_host_end(Call& call) {
  std::optional<net::Link> link = TRY(net::find_link(call.host, call.host_end()));
  if (link && (link->kind != "veth" || (!link->alias.empty() && link->alias != call.attachment.alias()))) link.reset();
  return link;
}

}  // namespace

Result<void> ensure_host_rules(Call& call, netfilter::IsolationLock& lock) {
  const bool legacy = netfilter::has_legacy_tables();
  call.place = TRY(netfilter::place_of_network(call.config.backend, call.attachment.network, legacy));
  call.legacy_tables = legacy || call.place == netfilter::BackendName::kIptables;
  netfilter::LossWatch watch{.evidence = [&call](bool everything) { return has_attachments(call, everything); }};
  TRY(netfilter::ensure_isolation(
      lock, call.place, legacy, [&call] { return list_bridges(call.host, true); },
      cni::is_repeated(call.request.conf) ? nullptr : &watch));
  tell_of_loss(call, watch);
  return {};
}

Result<void> ensure_network_rules(Call& call, const addr::Cidr& range) {
  TRY(net::ensure_forwarding(nullptr, kFamily, net::kSysctlFile));
  if (!call.config.ip_masq) return {};
  netfilter::LossWatch watch;  // other attachments have links before they have masquerade
  bool told = false;
  watch.before_write = [&call, &told]() -> Result<void> {
    return std::exchange(told, true) ? Result<void>() : tell_of_closed_way(call);
  };
  TRY(masquerade_backend(call)->ensure_watched(network_rules(call, range),
                                               cni::is_repeated(call.request.conf) ? nullptr : &watch));
  tell_of_loss(call, watch);
  return {};
}

Result<HostEnd> add_host_end(Call& call, Undo& undo) {
  HostEnd end{.mac = device_mac(call, "host")};
  const unsigned mtu = call.config.mtu_bytes;
  end.index = TRY(net::create_veth(call.host, {.here = {.name = call.host_end(), .mac = end.mac, .mtu_bytes = mtu},
                                               .alias = call.attachment.alias(),
                                               .peer = {.name = call.uplink(),
                                                        .mac = device_mac(call, "uplink"),
                                                        .mtu_bytes = mtu,
                                                        .group = call.attachment.group(),
                                                        .up = false},
                                               .peer_ns = &call.sandbox->ns}));
  undo.push("delete veth",
            [&call, index = end.index] { return net::delete_link(call.host, index, net::DeleteWait::kNotice); });
  // No carrier yet, so no link-local address either: none is ever made.
  const Result<void> closed =
      net::write_sysctl(nullptr, fmt::format("net/ipv6/conf/{}/disable_ipv6", call.host_end()), "1");
  if (!closed && closed.error().kind != Kind::kNotFound)
    return std::unexpected(closed.error());  // absent: no IPv6 here
  return end;
}

Result<bool> claim_guest_route(Call& call, const HostEnd& end, const addr::Ip& guest) {
  const Result<void> added = net::add_route(call.host, guest_route(end.index, guest));
  if (added) return true;
  if (added.error().kind == Kind::kExists) return false;
  return std::unexpected(added.error());
}

Result<void> add_guest_neighbour(Call& call, const HostEnd& end, const addr::Ip& guest) {
  return net::ensure_neighbour(call.host, {.device = end.index, .ip = guest, .mac = device_mac(call, "uplink")});
}

Result<HostEnd> check_host_side(Call& call, const GuestPlan& guest) {
  const std::string what = fmt::format("link '{}'", call.host_end());
  const std::optional<net::Link> link = TRY(find_host_end(call));
  if (!link) return mismatch(what, "no such link");
  if (!link->up) return mismatch(what, "it is down");
  if (link->mac != device_mac(call, "host")) return mismatch(what, "its MAC has been changed");
  if (!TRY(net::has_route(call.host, guest_route(link->index, guest.ip))))
    return mismatch(what, fmt::format("no route to '{}'", guest.ip.text()));
  const std::optional<net::Neighbour> entry = TRY(net::find_neighbour(call.host, link->index, guest.ip));
  if (!entry || !entry->permanent || entry->mac != device_mac(call, "uplink"))
    return mismatch(what, fmt::format("no permanent neighbour entry for '{}'", guest.ip.text()));
  return HostEnd{.index = link->index, .mac = link->mac};
}

Result<void> check_rules(Call& call, const addr::Cidr& range) {
  TRY(netfilter::check_isolation(TRY(list_bridges(call.host, false))));
  if (call.config.ip_masq) TRY(masquerade_backend(call)->check(network_rules(call, range)));
  if (TRY(net::is_forwarding(kFamily))) return {};
  return fail(Kind::kMismatch, "check forwarding: 'net.ipv4.ip_forward' is 0", "sysctl -w net.ipv4.ip_forward=1");
}

Result<void> delete_pair(net::RouteSocket& host, const net::Link& host_end, std::optional<uint32_t> group) {
  if (host_end.peer_netnsid && group)
    TRY(net::delete_link_group_in(host, *host_end.peer_netnsid, *group, host_end.index, net::DeleteWait::kNotice));
  // The namespace may have been gone, or the other end may have lost its group.
  return net::delete_link(host, host_end.index, net::DeleteWait::kNotice);
}

Result<void> find_sandbox(Call& call) {
  if (call.sandbox) return {};
  const std::optional<net::Link> end = TRY(find_host_end(call));
  if (!end || !end->peer_netnsid) return {};
  std::optional<net::Netns> ns = TRY(net::find_named_netns(call.host, *end->peer_netnsid));
  if (!ns) return {};
  net::RouteSocket routes = TRY(net::RouteSocket::open_in(*ns));
  call.sandbox = net::Sandbox{.ns = std::move(*ns), .routes = std::move(routes)};
  return {};
}

Result<void> delete_links(Call& call) {
  Result<void> inside;
  if (call.sandbox)
    inside = net::delete_link_group(call.sandbox->routes, call.attachment.group(), net::DeleteWait::kNotice);
  const std::optional<net::Link> end = TRY(find_host_end(call));
  if (end) TRY(delete_pair(call.host, *end, call.attachment.group()));
  return inside;
}

}  // namespace slicer::isolated
