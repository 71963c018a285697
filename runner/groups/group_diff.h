#pragma once
// What of a running VM is not as its group's file says now.

#include <string>
#include <vector>

#include "runner/state/vm_record.h"
#include "runner/supervisor/launch.h"

namespace slicer::runner {

/// Keys of the YAML that only a new VM takes over. `wanted` is what a VM of that name would be now. Pure.
std::vector<std::string> changed_keys(const VmRecord& running, const VmRequest& wanted);

/// Two forms of one network differ in drop, allow or default, which VMs that run can take over, and in nothing else.
bool only_lists_differ(const chain::Conflist& before, const chain::Conflist& now);

}  // namespace slicer::runner
