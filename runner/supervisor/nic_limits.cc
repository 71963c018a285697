#include "runner/supervisor/nic_limits.h"

namespace slicer::runner {

NicLimits limits_of(const cni::Json& capability_args) {
  NicLimits limits;
  const auto found = capability_args.find("bandwidth");
  if (found == capability_args.end() || !found->is_object()) return limits;
  const auto number = [&](const char* key) {
    const auto value = found->find(key);
    return value != found->end() && value->is_number_unsigned() ? value->get<uint64_t>() : 0;
  };
  limits.ingress_rate = number("ingressRate");
  limits.ingress_burst = number("ingressBurst");
  limits.egress_rate = number("egressRate");
  limits.egress_burst = number("egressBurst");
  return limits;
}

}  // namespace slicer::runner
