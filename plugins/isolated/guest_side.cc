#include "plugins/isolated/guest_side.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "lib/net/address.h"
#include "lib/net/neighbour.h"
#include "lib/net/netns_find.h"
#include "lib/net/route.h"
#include "lib/net/tap.h"
#include "lib/net/tc_guard.h"
#include "plugins/isolated/blocks.h"
#include "plugins/isolated/rate.h"

namespace slicer::isolated {
namespace {

net::Route default_route(int uplink) {
  return {.destination = {.ip = addr::Ip(addr::Family::kIpv4, 0), .prefix = 0},
          .device = uplink,
          .gateway = next_hop(),
          .on_link = true};
}

net::GuardSpec guard_of(const GuestPlan& guest) {
  return {.mac = guest.mac, .sources = {guest.ip}, .check_sources = true, .ipv4_only = true};
}

addr::Cidr gateway_address(const GuestPlan& guest) { return {.ip = guest.gateway, .prefix = guest.prefix}; }

/// Without lists: slicer-firewall, behind this plugin in the chain, puts the table with its own in this one's place.
Result<netfilter::VmTableRules> rules_of(Call& call, const GuestPlan& guest) {
  const std::vector<addr::Ip> own = TRY(net::list_own_addresses(call.host, addr::Family::kIpv4));
  return netfilter::VmTableRules{.owner = call.rule_owner(),
                                 .tap = call.attachment.ifname,
                                 .uplink = call.uplink(),
                                 .guest = guest.ip,
                                 .gateway = guest.gateway,
                                 .policy = netfilter::compile_policy({}, netfilter::closed_to_isolated(own))};
}

/// kAuto: where the table stands.
Result<netfilter::VmTable> open_table(const net::Netns& ns, netfilter::BackendName place, bool legacy) {
  const net::ScopedNetns inside = TRY(net::ScopedNetns::enter(ns));
  return netfilter::VmTable::open(place, legacy);
}

Result<netfilter::VmTable> find_table(const net::Netns& ns) {
  return open_table(ns, netfilter::BackendName::kAuto, netfilter::has_legacy_tables());
}

std::unexpected<Error> occupied(const Call& call) {
  return fail(Kind::kExists,
              fmt::format("add a default route in '{}': the namespace has one already", call.request.env.netns),
              "an isolated VM needs a namespace of its own; delete the other attachment, or make another namespace");
}

/// Whether a table that stands belongs to nobody any more: an attachment makes its uplink before its table, and loses
/// it before the table goes (DEL, and whatever takes the host's end away).
Result<bool> is_alone(Call& call) {
  const std::string own = call.uplink();
  const std::vector<net::Link> uplinks = TRY(net::list_links(call.sandbox->routes, "slu"));  // of any network
  return std::ranges::all_of(uplinks, [&](const net::Link& link) { return link.name == own; });
}

Result<int> raise_uplink(Call& call, const HostEnd& end) {
  net::RouteSocket& inside = call.sandbox->routes;
  const int uplink = TRY(net::get_link_index(inside, call.uplink()));
  // Nothing of this namespace is set by /proc/sys: each namespace that was ever looked at there makes every later look
  // of any process slower (1 ms at 1,000), since the kernel finds their entries in one hash chain (fs/dcache.c:
  // __d_lookup_rcu_op_compare()). So IPv6 has no address here and no way through the rules, but is not switched off.
  TRY(net::set_link(inside, uplink, {.no_ipv6_link_local = true, .ipv4_forwarding = true}));
  TRY(net::set_link(inside, uplink, {.up = true}));
  TRY(net::ensure_neighbour(inside, {.device = uplink, .ip = next_hop(), .mac = end.mac}));
  TRY(limit_egress(call, uplink));
  return uplink;
}

/// Behind the TAP's address: in a namespace that never had one, not even 127.0.0.1, the kernel has no local table, and
/// takes every gateway for a broadcast address (net/ipv4/fib_frontend.c, __inet_dev_addr_type()).
Result<void> add_default_route(Call& call, int uplink) {
  Result<void> added = net::add_route(call.sandbox->routes, default_route(uplink));
  if (!added && added.error().kind == Kind::kExists) return occupied(call);
  return added;
}

Result<int> add_tap(Call& call, const GuestPlan& guest) {
  net::RouteSocket& inside = call.sandbox->routes;
  const int tap = TRY(net::create_tap(&call.sandbox->ns, inside,
                                      {.name = call.attachment.ifname,
                                       .alias = call.attachment.alias(),
                                       .mac = device_mac(call, "tap"),
                                       .mtu_bytes = call.config.mtu_bytes,
                                       .link_group = call.attachment.group(),
                                       .owner = call.config.owner.user,
                                       .owner_group = call.config.owner.group,
                                       .no_ipv6_link_local = true,
                                       .ipv4_forwarding = true}));
  const auto complete = [&]() -> Result<void> {
    TRY(net::ensure_guard(inside, tap, guard_of(guest)));
    TRY(limit_ingress(call, tap));
    (void)TRY(net::ensure_address(inside, tap, {.address = gateway_address(guest)}));
    return net::ensure_neighbour(inside, {.device = tap, .ip = guest.ip, .mac = guest.mac});
  };
  const Result<void> completed = complete();
  if (completed) return tap;
  (void)net::delete_link(inside, tap, net::DeleteWait::kNotice);  // the error that counts is the first
  return std::unexpected(completed.error());
}

Result<void> check_tap(Call& call, const GuestPlan& guest) {
  net::RouteSocket& inside = call.sandbox->routes;
  const std::string what = fmt::format("tap '{}' in '{}'", call.attachment.ifname, call.request.env.netns);
  const std::optional<net::Link> tap = TRY(net::find_link(inside, call.attachment.ifname));
  if (!tap) return mismatch(what, "no such link");
  if (tap->kind != "tun" || !tap->tun || !tap->tun->tap) return mismatch(what, "it is no TAP");
  if (tap->group != call.attachment.group()) return mismatch(what, "it belongs to another attachment");
  if (!tap->tun->persistent) return mismatch(what, "it is not persistent");
  if (!tap->up) return mismatch(what, "it is down");
  if (!tap->ipv4_forwarding) return mismatch(what, "it does not forward");
  if (!TRY(net::has_address(inside, tap->index, gateway_address(guest))))
    return mismatch(what, fmt::format("no address '{}'", gateway_address(guest).text()));
  if (!TRY(net::has_guard(inside, tap->index, guard_of(guest))))
    return mismatch(what, "its anti-spoofing filter is absent or changed");
  const std::optional<net::Neighbour> entry = TRY(net::find_neighbour(inside, tap->index, guest.ip));
  if (!entry || !entry->permanent || entry->mac != guest.mac)
    return mismatch(what, fmt::format("no permanent neighbour entry for '{}'", guest.ip.text()));
  return check_ingress_limit(call, tap->index);
}

Result<void> check_uplink(Call& call, const HostEnd& end) {
  net::RouteSocket& inside = call.sandbox->routes;
  const std::string what = fmt::format("link '{}' in '{}'", call.uplink(), call.request.env.netns);
  const std::optional<net::Link> link = TRY(net::find_link(inside, call.uplink()));
  if (!link) return mismatch(what, "no such link");
  if (!link->up) return mismatch(what, "it is down");
  if (!TRY(net::has_route(inside, default_route(link->index)))) return mismatch(what, "no default route");
  const std::optional<net::Neighbour> entry = TRY(net::find_neighbour(inside, link->index, next_hop()));
  if (!entry || !entry->permanent || entry->mac != end.mac)
    return mismatch(what, "no permanent neighbour entry for the host");
  if (!link->ipv4_forwarding) return mismatch(what, "it does not forward");
  return check_egress_limit(call, link->index);
}

}  // namespace

Result<void> refuse_occupied(Call& call) {
  const std::optional<addr::Cidr> way_out = TRY(net::find_destination_of(call.sandbox->routes, next_hop()));
  if (way_out && way_out->prefix == 0) return occupied(call);
  if (!TRY(net::find_link_index(call.sandbox->routes, call.attachment.ifname))) return {};
  return fail(
      Kind::kExists,
      fmt::format("create '{}' in '{}': a link of this name exists", call.attachment.ifname, call.request.env.netns),
      "set another CNI_IFNAME, or delete the attachment that made it");
}

Result<void> add_guest_side(Call& call, const HostEnd& end, const GuestPlan& guest, Undo& undo) {
  undo.push("remove rules", [&call] { return remove_rules(call); });
  netfilter::VmTable table = TRY(open_table(call.sandbox->ns, call.place, call.legacy_tables.value_or(true)));
  TRY(table.put(TRY(rules_of(call, guest)), [&call] { return is_alone(call); }));
  const int uplink = TRY(raise_uplink(call, end));
  const int tap = TRY(add_tap(call, guest));
  undo.push("delete tap",
            [&call, tap] { return net::delete_link(call.sandbox->routes, tap, net::DeleteWait::kNotice); });
  return add_default_route(call, uplink);
}

Result<void> check_guest_side(Call& call, const HostEnd& end, const GuestPlan& guest) {
  TRY(check_tap(call, guest));
  TRY(check_uplink(call, end));
  return TRY(find_table(call.sandbox->ns)).check(TRY(rules_of(call, guest)), netfilter::VmTableCheck::kConstants);
}

Result<void> remove_rules(Call& call) {
  if (!call.sandbox) return {};
  netfilter::VmTable table = TRY(find_table(call.sandbox->ns));
  return table.remove(call.rule_owner().mark());
}

Result<void> remove_stale_rules(const std::string& network, const std::vector<cni::Attachment>& valid) {
  std::set<std::string> known;
  for (const cni::Attachment& one : valid)
    known.insert(netfilter::IsolationOwner{.network = network, .alias = one.alias()}.mark());
  for (const net::Netns& ns : net::list_named_netns()) {
    netfilter::VmTable table = TRY(find_table(ns));
    const std::optional<std::string> mark = TRY(table.mark());
    if (mark && netfilter::is_mark_of_network(*mark, network) && !known.contains(*mark)) TRY(table.remove(*mark));
  }
  return {};
}

}  // namespace slicer::isolated
