#pragma once
// From a host group to VMs of it: what `up` and `vm new` have in common.

#include <string>

#include "lib/base/result.h"
#include "runner/groups/host_group.h"
#include "runner/supervisor/launch.h"

namespace slicer::runner {

/// What VM `number` of a group is to be, named "<group>-<number>"; with number 0 the caller gives it a name. `network`
/// is group_network()'s, `file` where the group is written. Errors: those of the group's image and lists.
Result<LaunchSpec> group_vm_spec(const HostGroup& group, unsigned number, const chain::Conflist& network,
                                 const std::string& file);

}  // namespace slicer::runner
