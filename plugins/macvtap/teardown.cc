// DEL and GC. Order: the link first (the guest is cut off at once), the address last (nobody else may get it while the
// guest could still use it).
#include "ipam/client.h"
#include "plugins/macvtap/device.h"
#include "plugins/macvtap/verbs.h"

namespace slicer::macvtap {

namespace {

/// Both steps have been done, whatever became of the first.
Result<void> both(Result<void> links, Result<void> addresses) {
  if (!links && !addresses) links.error().message += "; " + addresses.error().message;
  return links ? addresses : links;
}

}  // namespace

Result<void> del(const cni::Request& request) {
  Call call = TRY(open_cleanup_call(request));
  Result<void> link = delete_device(call);
  return both(std::move(link), ipam::del(request));
}

Result<void> gc(const cni::Request& request) {
  if (!request.conf.valid_attachments) return {};  // no list is no information
  Result<void> links = delete_stale_devices(request.conf.name, *request.conf.valid_attachments);
  return both(std::move(links), ipam::gc(request));
}

}  // namespace slicer::macvtap
