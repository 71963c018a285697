// CHECK and STATUS.
#include "ipam/client.h"
#include "plugins/macvtap/device.h"
#include "plugins/macvtap/parent.h"
#include "plugins/macvtap/verbs.h"

namespace slicer::macvtap {

Result<void> check(const cni::Request& request) {
  if (!request.conf.prev_result)
    return fail(Kind::kInvalidConfig, "\"prevResult\": missing", "call CHECK with the result of the attachment's ADD");
  return ipam::check(request);
}

Result<void> status(const cni::Request& request) {
  Call call = TRY(open_call(request));
  Result<net::Link> parent = find_parent(call);
  if (!parent) {
    parent.error().kind = Kind::kUnavailable;
    return std::unexpected(parent.error());
  }
  return ipam::status(request);
}

}  // namespace slicer::macvtap
