#include "plugins/isolated/rate.h"

#include <fmt/core.h>

#include "lib/net/shaper.h"

namespace slicer::isolated {
namespace {

net::Bucket bucket_of(const Call& call, const cni::RateLimit& limit) {
  return net::fit_bucket({.bytes_per_second = limit.bytes_per_second, .burst_bytes = limit.burst_bytes},
                         call.config.mtu_bytes);
}

Result<void> put(Call& call, int index, const cni::RateLimit& limit) {
  if (limit.bytes_per_second == 0) return {};
  return net::add_send_limit(call.sandbox->routes, index, bucket_of(call, limit));
}

Result<void> look(Call& call, int index, const cni::RateLimit& limit, const char* key) {
  if (limit.bytes_per_second == 0) return {};
  if (TRY(net::has_send_limit(call.sandbox->routes, index, bucket_of(call, limit)))) return {};
  return mismatch(fmt::format("\"{}\" of '{}'", key, call.attachment.ifname), "absent or changed");
}

}  // namespace

Result<void> limit_ingress(Call& call, int tap) { return put(call, tap, call.config.bandwidth.ingress); }
Result<void> limit_egress(Call& call, int uplink) { return put(call, uplink, call.config.bandwidth.egress); }

Result<void> check_ingress_limit(Call& call, int tap) {
  return look(call, tap, call.config.bandwidth.ingress, "ingressRate");
}
Result<void> check_egress_limit(Call& call, int uplink) {
  return look(call, uplink, call.config.bandwidth.egress, "egressRate");
}

}  // namespace slicer::isolated
