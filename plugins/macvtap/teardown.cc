// DEL and GC. Order: the link first (the guest is cut off at once), the address last (nobody else may get it while the
// guest could still use it).
#include "ipam/client.h"
#include "plugins/macvtap/device.h"
#include "plugins/macvtap/verbs.h"

namespace slicer::macvtap {

Result<void> del(const cni::Request& request) {
  Call call = TRY(open_cleanup_call(request));
  Result<void> link = delete_device(call);
  Result<void> addresses = ipam::del(request);
  if (!link && !addresses) link.error().message += "; " + addresses.error().message;
  return link ? addresses : link;
}

Result<void> gc(const cni::Request& request) {
  if (!request.conf.valid_attachments) return {};  // no list is no information
  return ipam::gc(request);
}

}  // namespace slicer::macvtap
