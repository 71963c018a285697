#include "lib/cni/repeated.h"
#include "plugins/isolated/blocks.h"
#include "plugins/isolated/guest_side.h"
#include "plugins/isolated/verbs.h"

namespace slicer::isolated {
namespace {

/// The host's end, and the pair that consumers look for (docs/contract.md).
std::vector<cni::Interface> interfaces_of(const Call& call, const HostEnd& end, const GuestPlan& guest) {
  const unsigned mtu = call.config.mtu_bytes;
  const std::string& tap = call.attachment.ifname;
  return {{.name = call.host_end(), .mac = end.mac.text(), .mtu = mtu},
          {.name = tap, .mac = device_mac(call, "tap").text(), .mtu = mtu, .sandbox = call.request.env.netns},
          {.name = tap, .mac = guest.mac.text(), .mtu = mtu, .sandbox = call.attachment.container_id}};
}
constexpr int kGuestEntry = 2;

cni::CniResult result_of(const Call& call, const HostEnd& end, const GuestPlan& guest, cni::CniResult addresses) {
  cni::CniResult result = std::move(addresses);
  result.interfaces = interfaces_of(call, end, guest);
  result.ips.front().gateway = guest.gateway;
  result.ips.front().interface = kGuestEntry;
  // There is nothing to reach but through the gateway.
  if (result.routes.empty())
    result.routes.push_back({.dst = {.ip = addr::Ip(addr::Family::kIpv4, 0), .prefix = 0}, .gw = guest.gateway});
  if (!call.config.dns.empty()) result.dns = call.config.dns;
  return result;
}

/// Under the lock: `slicer-run network rm` takes the rules back where there is no link. The rules come first: where a
/// link stands they have stood.
Result<HostEnd> add_guarded_host_end(Call& call, Undo& undo) {
  auto lock = TRY(netfilter::IsolationLock::acquire(netfilter::IsolationLock::Use::kAdd));
  TRY(ensure_host_rules(call, lock));
  return add_host_end(call, undo);
}

}  // namespace

bool accepts_host_netns(const cni::Request&) { return false; }

Result<cni::CniResult> add(const cni::Request& request) {
  Call call = TRY(open_call(request));
  if (cni::is_repeated(request.conf)) return repeat(call);
  Undo undo;
  TRY(refuse_occupied(call));
  const HostEnd end = TRY(add_guarded_host_end(call, undo));
  Block block =
      TRY(reserve_block(call, [&](const addr::Ip& guest) { return claim_guest_route(call, end, guest); }, undo));
  const GuestPlan guest = TRY(plan_guest(call, block.addresses));
  TRY(add_guest_neighbour(call, end, guest.ip));
  TRY(ensure_network_rules(call, block.range));
  TRY(add_guest_side(call, end, guest, undo));
  undo.commit();
  return result_of(call, end, guest, std::move(block.addresses));
}

}  // namespace slicer::isolated
