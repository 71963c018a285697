#include <fmt/core.h>

#include "ipam/client.h"
#include "lib/cni/repeated.h"
#include "lib/net/bridge_port.h"
#include "plugins/bridge/container_veth.h"
#include "plugins/bridge/gateway.h"
#include "plugins/bridge/host_tap.h"
#include "plugins/bridge/network_rules.h"
#include "plugins/bridge/private_tap.h"
#include "plugins/bridge/verbs.h"
#include "plugins/bridge/vlan_gateway.h"

namespace slicer::bridge {
namespace {

/// Before anything is made or reserved: a name in use is the caller's commonest mistake.
Result<void> refuse_name_in_use(Call& call) {
  net::RouteSocket& ns = call.in_host() ? call.host : call.sandbox->routes;
  if (!TRY(net::find_link_index(ns, call.attachment.ifname))) return {};
  return fail(
      Kind::kExists,
      fmt::format("create '{}' in '{}': a link of this name exists", call.attachment.ifname, call.request.env.netns),
      "set another CNI_IFNAME, or delete the attachment that made it");
}

Result<cni::CniResult> reserve_addresses(const Call& call, Undo& undo) {
  cni::CniResult addresses = TRY(ipam::add(call.request));
  undo.push("release addresses", [&call] { return ipam::del(call.request); });
  addresses.interfaces.clear();  // an IPAM has none to give (SPEC.md, section 4)
  for (cni::IpConfig& ip : addresses.ips) ip.interface.reset();
  return plan_result(std::move(addresses), call.config);
}

GuestPlan plan_guest(const Call& call, const cni::CniResult& planned, const Bridge& bridge) {
  GuestPlan guest{.mac = call.config.mac.value_or(call.attachment.guest_mac(call.machine_id)),
                  .mtu_bytes = call.config.mtu_bytes != 0 ? call.config.mtu_bytes : bridge.mtu_bytes};
  for (const cni::IpConfig& ip : planned.ips) guest.ips.push_back(ip.address.ip);
  return guest;
}

Result<Attached> attach(Call& call, const Bridge& bridge, const cni::CniResult& planned, Undo& undo) {
  const GuestPlan guest = plan_guest(call, planned, bridge);
  if (call.config.device == Device::kVeth) return add_container_veth(call, bridge, guest, planned, undo);
  return call.in_host() ? add_host_tap(call, bridge, guest, undo) : add_private_tap(call, bridge, guest, undo);
}

/// The kernel's word for a full bridge (EXFULL) tells nobody which one, or what is full.
Result<Attached> attach_or_explain(Call& call, const Bridge& bridge, const cni::CniResult& planned, Undo& undo) {
  Result<Attached> attached = attach(call, bridge, planned, undo);
  if (!attached && attached.error().kind == Kind::kExhausted)
    attached.error().message =
        fmt::format("attach '{}' to bridge '{}': it has all of the {} ports that a bridge can have",
                    call.attachment.ifname, call.config.bridge, net::kBridgePortsMax);
  return attached;
}

/// The rules come before any link of the attachment: where one stands they have stood.
Result<Attached> attach_behind_rules(Call& call, const Bridge& bridge, const cni::CniResult& planned, Undo& undo) {
  const netfilter::IsolationLock lock = TRY(ensure_network_rules(call, bridge, planned, undo));
  return attach_or_explain(call, bridge, planned, undo);
}

/// `slicer-run network reload`, after somebody emptied the packet filter: an attachment that stands, with its own
/// result. Only what is the network's.
Result<cni::CniResult> repeat(Call& call) {
  const Bridge bridge = TRY(check_bridge(call));
  Undo nothing;  // it was attached before
  (void)TRY(ensure_network_rules(call, bridge, *call.request.conf.prev_result, nothing));
  TRY(ensure_forwarding(call, *call.request.conf.prev_result));
  return *call.request.conf.prev_result;
}

}  // namespace

bool accepts_host_netns(const cni::Request& request) {
  const Result<Config> config = parse_config(request.conf, request.env);
  // What is wrong with a broken configuration is said by the verb.
  return !config || config->device == Device::kTap;
}

Result<cni::CniResult> add(const cni::Request& request) {
  Call call = TRY(open_call(request));
  if (cni::is_repeated(request.conf)) return repeat(call);
  Undo undo;
  TRY(refuse_name_in_use(call));
  cni::CniResult result = TRY(reserve_addresses(call, undo));
  Bridge bridge = TRY(ensure_bridge(call, undo));
  TRY(ensure_vlan_gateway(call, bridge, undo));
  TRY(ensure_gateway(call, bridge, gateway_addresses(result, call.config), undo));
  Attached attached = TRY(attach_behind_rules(call, bridge, result, undo));
  TRY(ensure_forwarding(call, result));
  result.interfaces = std::move(attached.interfaces);
  for (cni::IpConfig& ip : result.ips) ip.interface = attached.guest;
  undo.commit();
  return result;
}

}  // namespace slicer::bridge
