#pragma once
// A VM's bandwidth, for hypervisors that can hold to it themselves.

#include "lib/cni/json.h"
#include "runner/hypervisor/hypervisor.h"

namespace slicer::runner {

/// Of the capability "bandwidth" in runtimeConfig (CNI: CONVENTIONS.md); what is not there is no limit.
NicLimits limits_of(const cni::Json& capability_args);

}  // namespace slicer::runner
