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

/// Neighbours of an earlier holder of the address learn the new MAC at once: the kernel announces it when the link has
/// its address. Absent keys (no IPv6) are fine.
Result<void> announce_addresses(Call& call) {
  for (const char* key : {"net/ipv4/conf/{}/arp_notify", "net/ipv6/conf/{}/ndisc_notify"}) {
    const Result<void> set =
        net::write_sysctl(&call.sandbox->ns, fmt::format(fmt::runtime(key), call.attachment.ifname), "1");
    if (!set && set.error().kind != Kind::kNotFound) return set;
  }
  return {};
}

Result<void> configure(Call& call, int device, const cni::CniResult& planned) {
  net::RouteSocket& inside = call.sandbox->routes;
  if (ipam::has_ipv6(planned))
    TRY(net::ensure_sysctl(&call.sandbox->ns, "net/ipv6/conf/" + call.attachment.ifname + "/disable_ipv6", "0"));
  TRY(announce_addresses(call));
  for (const cni::IpConfig& ip : planned.ips)
    (void)TRY(net::ensure_address(inside, device, {.address = ip.address, .no_dad = !call.config.detect_duplicates}));
  TRY(net::set_link(inside, device, {.up = true}));
  if (call.config.detect_duplicates) TRY(net::await_addresses(inside, device, std::chrono::seconds(10)));
  for (const cni::Route& route : planned.routes)
    TRY(net::add_route(inside, ipam::kernel_route(route, planned, device)));
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
      if (TRY(net::has_route(inside, ipam::kernel_route(route, previous, link->index)))) continue;
      // One that leads there by another link is a later plugin's, which CHECK must allow (SPEC.md, CHECK).
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
