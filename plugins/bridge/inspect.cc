// CHECK and STATUS.
#include <fmt/core.h>

#include "ipam/client.h"
#include "lib/net/tap.h"
#include "lib/netfilter/backend.h"
#include "plugins/bridge/container_veth.h"
#include "plugins/bridge/gateway.h"
#include "plugins/bridge/host_tap.h"
#include "plugins/bridge/network_rules.h"
#include "plugins/bridge/private_tap.h"
#include "plugins/bridge/verbs.h"
#include "plugins/bridge/vlan_gateway.h"

namespace slicer::bridge {
namespace {

/// The entry of prevResult that the guest's addresses belong to.
Result<cni::Interface> guest_entry(const Call& call, const cni::CniResult& previous) {
  const auto pair = cni::find_guest_interface(previous, call.attachment.container_id);
  const auto& all = previous.interfaces;
  if (call.config.device == Device::kTap && pair) return all.at(static_cast<size_t>(pair->guest));
  if (call.config.device == Device::kVeth)
    for (const cni::Interface& one : all)
      if (one.name == call.attachment.ifname && one.sandbox == call.request.env.netns) return one;
  return fail(Kind::kMismatch,
              fmt::format("check '{}': \"prevResult\" has no interface of this name for '{}'", call.attachment.ifname,
                          call.attachment.container_id),
              "call CHECK with the result of the attachment's ADD");
}

Result<GuestPlan> previous_guest(const Call& call, const cni::CniResult& previous) {
  const cni::Interface entry = TRY(guest_entry(call, previous));
  GuestPlan guest;
  guest.mac = TRY(addr::parse_mac(entry.mac).context("\"prevResult\": \"mac\""));
  for (const cni::IpConfig& ip : previous.ips) {
    // Later plugins of the chain may have added interfaces with addresses of their own.
    const bool others = ip.interface && *ip.interface >= 0 &&
                        static_cast<size_t>(*ip.interface) < previous.interfaces.size() &&
                        previous.interfaces[static_cast<size_t>(*ip.interface)] != entry;
    if (!others) guest.ips.push_back(ip.address.ip);
  }
  return guest;
}

Result<void> check_device(Call& call, const Bridge& bridge, const cni::CniResult& previous) {
  const GuestPlan guest = TRY(previous_guest(call, previous));
  if (call.config.device == Device::kVeth) return check_container_veth(call, bridge, guest, previous);
  return call.in_host() ? check_host_tap(call, bridge, guest) : check_private_tap(call, bridge, guest);
}

}  // namespace

Result<void> check(const cni::Request& request) {
  if (!request.conf.prev_result)
    return fail(Kind::kInvalidConfig, "\"prevResult\": missing", "call CHECK with the result of the attachment's ADD");
  const cni::CniResult& previous = *request.conf.prev_result;
  Call call = TRY(open_call(request));
  Bridge bridge = TRY(check_bridge(call));
  TRY(check_vlan_gateway(call, bridge));
  TRY(check_device(call, bridge, previous));
  TRY(check_gateway(call, bridge, gateway_addresses(previous, call.config)));
  TRY(check_network_rules(call, bridge, previous));
  return ipam::check(request);
}

Result<void> status(const cni::Request& request) {
  Call call = TRY(open_call(request));
  const auto unavailable = [](Result<void> done) {
    if (!done && done.error().kind != Kind::kDelegate) done.error().kind = Kind::kUnavailable;
    return done;
  };
  TRY(unavailable(check_bridge_name(call)));
  if (call.config.device == Device::kTap) TRY(unavailable(net::check_tun_device()));
  TRY(unavailable(TRY(netfilter::make_backend_for("ipMasqBackend", call.config.masq_backend))->probe()));
  return ipam::status(request);
}

}  // namespace slicer::bridge
