#include "plugins/bridge/container_veth.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>

#include "ipam/kernel_route.h"
#include "lib/net/address.h"
#include "lib/net/route.h"
#include "lib/net/sysctl.h"
#include "plugins/bridge/host_veth.h"
#include "plugins/bridge/rate.h"
#include "plugins/bridge/taken_over.h"

namespace slicer::bridge {
namespace {

/// Absent keys (no IPv6) are fine.
Result<void> set_inside(Call& call, const std::string& key, const std::string& value) {
  const Result<void> set = net::write_sysctl(&call.sandbox->ns, key, value);
  if (!set && set.error().kind != Kind::kNotFound) return set;
  return {};
}

/// What upstream's bridge sets for a container. Neighbours of an earlier holder of the address learn the new MAC at
/// once: the kernel announces it when the link has its address. The link-local address waits for nobody either. IPv6
/// addresses survive a container that takes its link down and up.
Result<void> set_sysctls(Call& call, const cni::CniResult& planned) {
  const std::string v4 = "net/ipv4/conf/" + call.attachment.ifname;
  const std::string v6 = "net/ipv6/conf/" + call.attachment.ifname;
  if (ipam::has_ipv6(planned)) {
    for (const char* link : {"lo", call.attachment.ifname.c_str()})
      TRY(net::ensure_sysctl(&call.sandbox->ns, fmt::format("net/ipv6/conf/{}/disable_ipv6", link), "0"));
    TRY(set_inside(call, v6 + "/keep_addr_on_down", "1"));
  }
  if (call.config.detect_duplicates) TRY(set_inside(call, v6 + "/enhanced_dad", "1"));
  TRY(set_inside(call, v6 + "/accept_dad", call.config.detect_duplicates ? "1" : "0"));
  TRY(set_inside(call, v4 + "/arp_notify", "1"));
  return set_inside(call, v6 + "/ndisc_notify", "1");
}

Result<void> configure(Call& call, int device, const cni::CniResult& planned) {
  net::RouteSocket& inside = call.sandbox->routes;
  if (!planned.ips.empty()) TRY(set_sysctls(call, planned));
  for (const cni::IpConfig& ip : planned.ips)
    (void)TRY(net::ensure_address(
        inside, device, {.address = ip.address, .no_dad = !call.config.detect_duplicates, .broadcast = true}));
  TRY(net::set_link(inside, device, {.up = true}));
  if (call.config.detect_duplicates) TRY(net::await_addresses(inside, device, std::chrono::seconds(10)));
  // A container in two networks has two default routes, as with upstream's plugin.
  for (const cni::Route& route : planned.routes)
    TRY(net::add_route_beside(inside, ipam::kernel_route(route, planned, device)));
  return {};
}

Error mismatch(const Call& call, const std::string& cause) {
  return {.kind = Kind::kMismatch,
          .message = fmt::format("check link '{}' in '{}': {}", call.attachment.ifname, call.request.env.netns, cause),
          .hint = "delete the attachment and add it again"};
}

}  // namespace

Result<Attached> add_container_veth(Call& call, const Bridge& bridge, const GuestPlan& guest,
                                    const cni::CniResult& planned, Undo& undo) {
  // The container's end comes up with its addresses: born up, it would announce none of them.
  const HostVeth veth =
      TRY(add_host_veth(call, bridge, {.name = call.attachment.ifname, .mac = guest.mac}, guest.mtu_bytes, undo));
  TRY(attach_guest(call, bridge, veth.index, guest, undo));
  TRY(guard_guest(call.host, veth.index, call.config, guest));
  TRY(limit_port(call, veth.index, guest.mtu_bytes, undo));
  const int device = TRY(net::get_link_index(call.sandbox->routes, call.attachment.ifname));
  if (!call.config.disable_container_interface) TRY(configure(call, device, planned));
  Attached attached{.guest = 2};
  attached.interfaces.push_back({.name = call.config.bridge, .mac = bridge.mac.text(), .mtu = bridge.mtu_bytes});
  attached.interfaces.push_back({.name = veth.name, .mac = veth.mac.text(), .mtu = guest.mtu_bytes});
  attached.interfaces.push_back({.name = call.attachment.ifname,
                                 .mac = guest.mac.text(),
                                 .mtu = guest.mtu_bytes,
                                 .sandbox = call.request.env.netns});
  return attached;
}

Result<void> check_container_veth(Call& call, const Bridge& bridge, const GuestPlan& guest,
                                  const cni::CniResult& previous) {
  net::RouteSocket& inside = call.sandbox->routes;
  const std::optional<net::Link> link = TRY(net::find_link(inside, call.attachment.ifname));
  if (!link || link->kind != "veth") return std::unexpected(mismatch(call, link ? "it is no veth" : "no such link"));
  if (link->mac != guest.mac)
    return std::unexpected(mismatch(call, fmt::format("MAC {} instead of {}", link->mac.text(), guest.mac.text())));
  if (!call.config.disable_container_interface) {
    if (!link->up) return std::unexpected(mismatch(call, "it is down"));
    for (const cni::IpConfig& ip : previous.ips)
      if (!TRY(net::has_address(inside, link->index, ip.address)))
        return std::unexpected(mismatch(call, fmt::format("no address '{}'", ip.address.text())));
    for (const cni::Route& route : previous.routes) {
      const net::Route wanted = ipam::kernel_route(route, previous, link->index);
      if (TRY(net::has_route(inside, wanted))) continue;
      // A later plugin's doing, which CHECK must allow (SPEC.md, CHECK): upstream's sbr moves the link's routes to a
      // table of its own; another has one that leads there by another link.
      if (TRY(net::has_route_in_any_table(inside, wanted))) continue;
      const std::optional<net::Route> other = TRY(net::find_route_to(inside, route.dst.ip));
      if (!other || other->destination != route.dst.network())
        return std::unexpected(mismatch(call, fmt::format("no route to '{}'", route.dst.text())));
    }
  }
  if (const std::optional<TakenOver> taken = TRY(find_taken_over(call, previous)))
    return check_host_port(taken->host_end, bridge, call.config.bridge);
  const net::Link veth = TRY(check_host_veth(call, bridge));
  TRY(check_guard(call.host, veth, call.config, guest));
  TRY(check_port_limit(call, veth));
  return check_guest(call, bridge, veth.index, guest);
}

}  // namespace slicer::bridge
