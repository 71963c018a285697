// CHECK and STATUS.
#include <fmt/core.h>

#include "ipam/client.h"
#include "lib/net/tap.h"
#include "lib/net/tap_label.h"
#include "plugins/tap/chained.h"
#include "plugins/tap/plain.h"
#include "plugins/tap/taken_over.h"
#include "plugins/tap/verbs.h"

namespace slicer::tap {

Result<void> check(const cni::Request& request) {
  if (!request.conf.prev_result)
    return fail(Kind::kInvalidConfig, "\"prevResult\": missing", "call CHECK with the result of the attachment's ADD");
  Call call = TRY(open_call(request));
  const cni::CniResult& previous = *request.conf.prev_result;
  const auto pair = cni::find_guest_interface(previous, call.attachment.container_id);
  if (!pair) {
    if (const std::optional<UpstreamsTap> taken = TRY(find_upstreams_tap(call, previous)))
      return check_plain(call, previous, taken->entry);
    return fail(Kind::kMismatch,
                fmt::format("check '{}': \"prevResult\" has no TAP for '{}'", call.attachment.ifname,
                            call.attachment.container_id),
                "call CHECK with the result of the attachment's ADD");
  }
  // A TAP that follows an interface cannot have that one's name.
  if (previous.interfaces[static_cast<size_t>(pair->tap)].name == call.attachment.ifname)
    return check_plain(call, previous, pair->tap);
  return check_chained(call, previous, *pair);
}

Result<void> status(const cni::Request& request) {
  Call call = TRY(open_call(request));
  Result<void> possible = net::check_tun_device();
  if (possible && !call.config.selinux_label.empty()) possible = net::check_label(call.config.selinux_label);
  if (!possible) {
    possible.error().kind = Kind::kUnavailable;
    return possible;
  }
  return ipam::status(request);
}

}  // namespace slicer::tap
