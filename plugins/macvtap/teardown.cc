// DEL and GC. Order: the links first (the guest is cut off at once), the address last (nobody else may get it while the
// guest could still use it).
#include "ipam/client.h"
#include "lib/base/steps.h"
#include "plugins/macvtap/device.h"
#include "plugins/macvtap/rate.h"
#include "plugins/macvtap/verbs.h"

namespace slicer::macvtap {

Result<void> del(const cni::Request& request) {
  Call call = TRY(open_cleanup_call(request));
  Steps steps;
  steps.take(delete_device(call));
  steps.take(delete_ifb(call));
  steps.take(ipam::del(request));
  return std::move(steps).end();
}

Result<void> gc(const cni::Request& request) {
  if (!request.conf.valid_attachments) return {};  // no list is no information
  Steps steps;
  steps.take(delete_stale_devices(request.conf.name, *request.conf.valid_attachments));
  steps.take(ipam::gc(request));
  return std::move(steps).end();
}

}  // namespace slicer::macvtap
