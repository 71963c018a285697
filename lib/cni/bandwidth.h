#pragma once
// How fast a guest may receive and send: CNI's capability "bandwidth" (CONVENTIONS.md), and the same keys in the
// configuration, both as upstream's plugin of that name takes them.

#include <cstdint>

#include "lib/cni/net_conf.h"

namespace slicer::cni {

/// One direction, in bytes; a rate of 0 is no limit.
struct RateLimit {
  uint64_t bytes_per_second = 0;
  uint32_t burst_bytes = 0;  ///< what may come at once
  friend bool operator==(const RateLimit&, const RateLimit&) = default;
};

struct Bandwidth {
  RateLimit ingress = {};  ///< towards the guest
  RateLimit egress = {};   ///< from it

  [[nodiscard]] bool limits() const { return ingress.bytes_per_second != 0 || egress.bytes_per_second != 0; }
  friend bool operator==(const Bandwidth&, const Bandwidth&) = default;
};

/// "ingressRate", "ingressBurst", "egressRate" and "egressBurst" of the configuration itself, in bits per second and in
/// bits; without any of them those of runtimeConfig.bandwidth. Errors: kInvalidConfig (a rate without burst, a burst
/// without rate, negative, beyond what the kernel counts), kUnsupportedField (upstream's "shapedSubnets").
Result<Bandwidth> bandwidth_fields(const NetConf& conf);

}  // namespace slicer::cni
