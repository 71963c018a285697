#include "plugins/macvtap/addresses.h"
#include "plugins/macvtap/device.h"
#include "plugins/macvtap/parent.h"
#include "plugins/macvtap/rate.h"
#include "plugins/macvtap/verbs.h"

namespace slicer::macvtap {
namespace {

constexpr int kGuestEntry = 1;

GuestPlan plan_guest(const net::Link& device, const cni::CniResult& addresses) {
  GuestPlan guest{.mac = device.mac};
  for (const cni::IpConfig& ip : addresses.ips) guest.ips.push_back(ip.address.ip);
  return guest;
}

/// The LAN's router is the way out, unless IPAM says where to.
void add_default_routes(cni::CniResult& result) {
  if (!result.routes.empty()) return;
  for (const cni::IpConfig& ip : result.ips)
    if (ip.gateway)
      result.routes.push_back({.dst = {.ip = addr::Ip(ip.gateway->family(), 0), .prefix = 0}, .gw = ip.gateway});
}

/// The pair that consumers look for (docs/contract.md). The macvtap's MAC is the guest's: it receives for no other.
cni::CniResult result_of(const Call& call, const net::Link& device, cni::CniResult result) {
  const std::string mac = device.mac.text();
  const unsigned mtu = device.mtu_bytes;
  result.interfaces = {{.name = device.name, .mac = mac, .mtu = mtu, .sandbox = call.request.env.netns},
                       {.name = device.name, .mac = mac, .mtu = mtu, .sandbox = call.attachment.container_id}};
  for (cni::IpConfig& ip : result.ips) ip.interface = kGuestEntry;
  add_default_routes(result);
  if (!call.config.dns.empty()) result.dns = call.config.dns;
  return result;
}

}  // namespace

bool accepts_host_netns(const cni::Request&) { return false; }

Result<cni::CniResult> add(const cni::Request& request) {
  Call call = TRY(open_call(request));
  Undo undo;
  TRY(refuse_name_in_use(call));
  const net::Link parent = TRY(find_parent(call));
  const net::Link device = TRY(add_device(call, parent, undo));
  cni::CniResult addresses = TRY(reserve_addresses(call, device, undo));
  TRY(guard_device(call, device, plan_guest(device, addresses)));
  TRY(limit_device(call, device, undo));
  undo.commit();
  return result_of(call, device, std::move(addresses));
}

}  // namespace slicer::macvtap
