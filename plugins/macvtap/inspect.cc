// CHECK and STATUS.
#include <fmt/core.h>

#include "ipam/client.h"
#include "plugins/macvtap/device.h"
#include "plugins/macvtap/parent.h"
#include "plugins/macvtap/verbs.h"

namespace slicer::macvtap {
namespace {

/// The guest as prevResult has it. Later plugins of the chain may have added interfaces with addresses of their own.
Result<GuestPlan> previous_guest(const Call& call, const cni::CniResult& previous) {
  const auto pair = cni::find_guest_interface(previous, call.attachment.container_id);
  if (!pair)
    return fail(Kind::kMismatch,
                fmt::format("check '{}': \"prevResult\" has no interface of this name for '{}'", call.attachment.ifname,
                            call.attachment.container_id),
                "call CHECK with the result of the attachment's ADD");
  GuestPlan guest;
  guest.mac = TRY(
      addr::parse_mac(previous.interfaces.at(static_cast<size_t>(pair->guest)).mac).context("\"prevResult\": \"mac\""));
  for (const cni::IpConfig& ip : previous.ips)
    if (!ip.interface || *ip.interface == pair->guest) guest.ips.push_back(ip.address.ip);
  return guest;
}

/// A named parent that is down or gone takes the VMs' LAN with it, not only that of the next one.
bool is_cut_off(const Call& call, const Error& cause) {
  return !call.config.parent.empty() && (cause.kind == Kind::kBusy || cause.kind == Kind::kNotFound);
}

}  // namespace

Result<void> check(const cni::Request& request) {
  if (!request.conf.prev_result)
    return fail(Kind::kInvalidConfig, "\"prevResult\": missing", "call CHECK with the result of the attachment's ADD");
  Call call = TRY(open_call(request));
  TRY(check_device(call, TRY(previous_guest(call, *request.conf.prev_result))));
  return ipam::check(request);
}

Result<void> status(const cni::Request& request) {
  Call call = TRY(open_call(request));
  Result<net::Link> parent = find_parent(call);
  if (!parent) {
    parent.error().code = is_cut_off(call, parent.error()) ? 51 : 0;
    parent.error().kind = Kind::kUnavailable;
    return std::unexpected(parent.error());
  }
  return ipam::status(request);
}

}  // namespace slicer::macvtap
