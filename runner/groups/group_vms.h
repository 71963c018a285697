#pragma once
// The VMs of a host, by host group.

#include <vector>

#include "lib/base/result.h"
#include "runner/settings.h"
#include "runner/state/vm_record.h"

namespace slicer::runner {

/// The records of all VMs, dead ones too; an unreadable one is told and passed over. Error: kSystem.
Result<std::vector<VmRecord>> list_vms(const Settings& settings);
/// Those whose supervisor runs.
Result<std::vector<VmRecord>> list_alive_vms(const Settings& settings);

/// Takes as many descriptors as this process may have: a group's VMs are waited for by one each.
void raise_descriptor_limit();

}  // namespace slicer::runner
