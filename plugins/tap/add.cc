#include "plugins/tap/chained.h"
#include "plugins/tap/plain.h"
#include "plugins/tap/verbs.h"

namespace slicer::tap {

bool accepts_host_netns(const cni::Request&) { return false; }

Result<cni::CniResult> add(const cni::Request& request) {
  Call call = TRY(open_call(request));
  if (request.conf.prev_result) return add_chained(call, *request.conf.prev_result);
  return add_plain(call);
}

}  // namespace slicer::tap
