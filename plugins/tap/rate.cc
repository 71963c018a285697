#include "plugins/tap/rate.h"

#include <fmt/core.h>

#include "lib/net/shaper.h"

namespace slicer::tap {
namespace {

net::Bucket bucket_of(const cni::RateLimit& limit, const Pair& pair) {
  return net::fit_bucket({.bytes_per_second = limit.bytes_per_second, .burst_bytes = limit.burst_bytes},
                         pair.mtu_bytes);
}

Result<void> limit_one(Call& call, const Pair& pair, int index, const cni::RateLimit& limit) {
  net::RouteSocket& routes = call.sandbox->routes;
  if (limit.bytes_per_second != 0) return net::ensure_send_limit(routes, index, bucket_of(limit, pair));
  return pair.adopted ? net::delete_send_limit(routes, index) : Result<void>{};
}

Result<void> check_one(Call& call, const Pair& pair, int index, const cni::RateLimit& limit, const char* key) {
  if (limit.bytes_per_second == 0) return {};
  if (TRY(net::has_send_limit(call.sandbox->routes, index, bucket_of(limit, pair)))) return {};
  return mismatch(fmt::format("\"{}\" of '{}'", key, call.attachment.ifname), "absent or changed");
}

}  // namespace

Result<void> limit_pair(Call& call, const Pair& pair, Undo& undo) {
  const cni::Bandwidth& wanted = call.config.bandwidth;
  TRY(limit_one(call, pair, pair.tap, wanted.ingress));
  TRY(limit_one(call, pair, pair.followed, wanted.egress));
  // The TAP's goes with the TAP.
  if (wanted.egress.bytes_per_second != 0 && !pair.adopted)
    undo.push("delete rate limit",
              [&call, index = pair.followed] { return net::delete_send_limit(call.sandbox->routes, index); });
  return {};
}

Result<void> check_limits(Call& call, const Pair& pair) {
  TRY(check_one(call, pair, pair.tap, call.config.bandwidth.ingress, "ingressRate"));
  return check_one(call, pair, pair.followed, call.config.bandwidth.egress, "egressRate");
}

}  // namespace slicer::tap
