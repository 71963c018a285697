// CHECK, STATUS, and ADD of what stands.
#include <fmt/core.h>

#include <algorithm>

#include "ipam/client.h"
#include "lib/net/tap.h"
#include "lib/netfilter/backend.h"
#include "plugins/isolated/blocks.h"
#include "plugins/isolated/guest_side.h"
#include "plugins/isolated/verbs.h"

namespace slicer::isolated {
namespace {

/// The guest as prevResult has it. Later plugins of the chain may have added interfaces with addresses of their own.
Result<GuestPlan> previous_guest(const Call& call, const cni::CniResult& previous) {
  const auto pair = cni::find_guest_interface(previous, call.attachment.container_id);
  if (!pair)
    return fail(Kind::kMismatch,
                fmt::format("check '{}': \"prevResult\" has no interface of this name for '{}'", call.attachment.ifname,
                            call.attachment.container_id),
                "call CHECK with the result of the attachment's ADD");
  cni::CniResult own;
  std::ranges::copy_if(previous.ips, std::back_inserter(own.ips),
                       [&](const cni::IpConfig& ip) { return !ip.interface || *ip.interface == pair->guest; });
  Result<GuestPlan> planned = plan_guest(call, own);
  if (!planned && planned.error().kind == Kind::kInvalidConfig) {
    planned.error().kind = Kind::kMismatch;
    planned.error().message =
        fmt::format("check '{}': \"prevResult\" has no /30 block of this attachment's (as read: {})",
                    call.attachment.ifname, planned.error().message);
    planned.error().hint = "call CHECK with the result of the attachment's ADD";
  }
  GuestPlan guest = TRY(std::move(planned));
  guest.mac = TRY(
      addr::parse_mac(previous.interfaces.at(static_cast<size_t>(pair->guest)).mac).context("\"prevResult\": \"mac\""));
  return guest;
}

/// The range that the guest's block is from; a range that was edited since then does not matter. Another IPAM plugin's
/// block is a range of its own, wherever it lies: as ADD takes it.
addr::Cidr range_of(const Call& call, const GuestPlan& guest) {
  if (call.config.own_ipam)
    for (const addr::Cidr& range : ranges_of(call))
      if (range.contains(guest.ip)) return range;
  return addr::Cidr{.ip = guest.ip, .prefix = guest.prefix}.network();
}

Result<void> unavailable(Result<void> done) {
  if (!done && done.error().kind != Kind::kDelegate) done.error().kind = Kind::kUnavailable;
  return done;
}

}  // namespace

Result<cni::CniResult> repeat(Call& call) {
  const cni::CniResult& previous = *call.request.conf.prev_result;
  const GuestPlan guest = TRY(previous_guest(call, previous));
  auto lock = TRY(netfilter::IsolationLock::acquire(netfilter::IsolationLock::Use::kAdd));
  TRY(ensure_host_rules(call, lock));
  TRY(ensure_network_rules(call, range_of(call, guest)));
  return previous;
}

Result<void> check(const cni::Request& request) {
  if (!request.conf.prev_result)
    return fail(Kind::kInvalidConfig, "\"prevResult\": missing", "call CHECK with the result of the attachment's ADD");
  Call call = TRY(open_call(request));
  const GuestPlan guest = TRY(previous_guest(call, *request.conf.prev_result));
  const HostEnd end = TRY(check_host_side(call, guest));
  TRY(check_guest_side(call, end, guest));
  const addr::Cidr range = range_of(call, guest);
  TRY(check_rules(call, range));
  return ipam::check(ipam_request(call, range));
}

Result<void> status(const cni::Request& request) {
  Call call = TRY(open_call(request));
  TRY(unavailable(net::check_tun_device()));
  TRY(unavailable(netfilter::make_backend(call.config.backend)->probe()));
  if (call.config.ip_masq && call.config.masq_backend != call.config.backend)
    TRY(unavailable(netfilter::make_backend(call.config.masq_backend)->probe()));
  if (!call.config.own_ipam) return ipam::status(request);
  Result<void> last;
  for (const addr::Cidr& range : ranges_of(call)) {
    last = ipam::status(ipam_request(call, range));
    if (last) return {};
  }
  return last;
}

}  // namespace slicer::isolated
