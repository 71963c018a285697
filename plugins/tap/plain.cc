#include "plugins/tap/plain.h"

#include <fmt/core.h>

#include "ipam/client.h"
#include "ipam/kernel_route.h"
#include "lib/net/address.h"
#include "lib/net/route.h"
#include "lib/net/sysctl.h"
#include "plugins/tap/device.h"
#include "plugins/tap/taken_over.h"

namespace slicer::tap {
namespace {

constexpr int kTapEntry = 0;

addr::Mac guest_mac(const Call& call) { return call.attachment.guest_mac(cni::machine_id()); }

/// A first plugin's TAP has no other end that could hold back what comes from it.
Result<void> refuse_limits(const Call& call) {
  if (!call.config.bandwidth.limits()) return {};
  return fail(Kind::kUnsupportedField,
              "\"bandwidth\" is for a TAP behind another plugin's interface, not for the first",
              "use slicer-bridge, slicer-isolated or slicer-macvtap; or leave it out");
}

Result<cni::CniResult> reserve_addresses(Call& call, Undo& undo) {
  if (call.request.conf.ipam_type.empty()) return cni::CniResult{};
  cni::CniResult addresses = TRY(ipam::add(call.request));
  undo.push("release addresses", [&call] { return ipam::del(call.request); });
  addresses.interfaces.clear();  // an IPAM has none to give (SPEC.md, section 4)
  return addresses;
}

Result<int> find_bridge(Call& call) {
  if (call.config.bridge.empty()) return 0;
  const std::optional<net::Link> bridge = TRY(net::find_link(call.sandbox->routes, call.config.bridge));
  if (bridge && bridge->bridge) return bridge->index;
  return fail(Kind::kNotFound,
              fmt::format("use \"bridge\" '{}' in '{}': {}", call.config.bridge, call.request.env.netns,
                          bridge ? "it is no bridge" : "no such link"),
              "the bridge must be in the VM's own namespace; for one of the host's use slicer-bridge");
}

/// What upstream's tap sets for its addresses. A kernel without IPv6 has no such keys.
Result<void> set_sysctls(Call& call, const net::Link& tap, const cni::CniResult& planned) {
  const auto set = [&](const std::string& key, const char* value) {
    Result<void> done = net::write_sysctl(&call.sandbox->ns, key, value);
    return !done && done.error().kind == Kind::kNotFound ? Result<void>{} : done;
  };
  if (ipam::has_ipv6(planned)) {
    for (const std::string& link : {std::string("lo"), tap.name})
      TRY(net::ensure_sysctl(&call.sandbox->ns, "net/ipv6/conf/" + link + "/disable_ipv6", "0"));
    TRY(set("net/ipv6/conf/" + tap.name + "/keep_addr_on_down", "1"));
  }
  return set("net/ipv4/conf/" + tap.name + "/arp_notify", "1");
}

Result<void> configure(Call& call, const net::Link& tap, const cni::CniResult& planned) {
  net::RouteSocket& routes = call.sandbox->routes;
  if (!planned.ips.empty()) TRY(set_sysctls(call, tap, planned));
  for (const cni::IpConfig& ip : planned.ips)
    (void)TRY(net::ensure_address(routes, tap.index, {.address = ip.address, .broadcast = true}));
  for (const cni::Route& route : planned.routes)
    TRY(net::add_route_beside(routes, ipam::kernel_route(route, planned, tap.index)));
  return {};
}

/// The TAP first, as upstream's: its addresses are the namespace's, not the guest's. Behind it the guest's entry, for
/// consumers that look for the pair (docs/contract.md).
cni::CniResult result_of(const Call& call, const net::Link& tap, cni::CniResult result) {
  result.interfaces = {
      {.name = tap.name, .mac = tap.mac.text(), .mtu = tap.mtu_bytes, .sandbox = call.request.env.netns},
      {.name = tap.name, .mac = guest_mac(call).text(), .mtu = tap.mtu_bytes, .sandbox = call.attachment.container_id}};
  for (cni::IpConfig& ip : result.ips) ip.interface = kTapEntry;
  if (!call.config.dns.empty()) result.dns = call.config.dns;
  return result;
}

}  // namespace

Result<cni::CniResult> add_plain(Call& call) {
  TRY(refuse_limits(call));
  TRY(lock_sandbox(call));
  Undo undo;
  const int bridge = TRY(find_bridge(call));
  const TapPlan plan{.name = call.attachment.ifname,
                     .mac = call.config.mac ? *call.config.mac : device_mac(call),
                     .mtu_bytes = call.config.mtu_bytes,
                     .master = bridge};
  const net::Link tap = TRY(make_tap(call, plan, undo));
  cni::CniResult addresses = TRY(reserve_addresses(call, undo));
  TRY(configure(call, tap, addresses));
  TRY(ensure_guard(call, tap, guard_of(call, guest_mac(call), {})));
  undo.commit();
  return result_of(call, tap, std::move(addresses));
}

Result<void> check_plain(Call& call, const cni::CniResult& previous, int index) {
  net::RouteSocket& routes = call.sandbox->routes;
  const cni::Interface& entry = previous.interfaces[static_cast<size_t>(index)];
  const std::string what = fmt::format("TAP '{}' in '{}'", entry.name, call.request.env.netns);
  const std::optional<net::Link> tap = TRY(net::find_link(routes, entry.name));
  if (!tap) return mismatch(what, "no such link");
  const bool taken = TRY(find_upstreams_tap(call, previous)).has_value();
  if (!taken && (!tap->tun || tap->alias != call.attachment.alias())) return mismatch(what, "it is somebody else's");
  const auto told = entry.mtu > 0 ? static_cast<unsigned>(entry.mtu) : tap->mtu_bytes;  // since 1.1.0
  // Of a TAP with an owner and a group upstream's tap forgets the MTU that is asked for.
  const unsigned mtu = call.config.mtu_bytes == 0 || taken ? told : call.config.mtu_bytes;
  const int bridge = TRY(find_bridge(call));
  const WantedTap wanted{.mtu_bytes = mtu, .master = bridge, .upstreams = taken};
  if (const std::string cause = tap_difference(call, *tap, wanted); !cause.empty()) return mismatch(what, cause);
  if (tap->mac.text() != entry.mac)
    return mismatch(what, fmt::format("its MAC is {} instead of {}", tap->mac.text(), entry.mac));
  for (const cni::IpConfig& ip : previous.ips)
    if ((!ip.interface || *ip.interface == index) && !TRY(net::has_address(routes, tap->index, ip.address)))
      return mismatch(what, fmt::format("no address '{}'", ip.address.text()));
  for (const cni::Route& route : previous.routes) {
    if (TRY(net::has_route(routes, ipam::kernel_route(route, previous, tap->index)))) continue;
    // One that leads there by another link is a later plugin's, which CHECK must allow (SPEC.md, CHECK).
    const std::optional<net::Route> other = TRY(net::find_route_to(routes, route.dst.ip));
    if (!other || other->destination != route.dst.network())
      return mismatch(what, fmt::format("no route to '{}'", route.dst.text()));
  }
  Result<void> guarded = check_guard(call, *tap, guard_of(call, guest_mac(call), {}));
  if (!guarded && taken) guarded.error().message += ": upstream's tap made this TAP, without one";
  TRY(std::move(guarded));
  return ipam::check(call.request);
}

}  // namespace slicer::tap
