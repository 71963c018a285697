#pragma once
// The section "network" of a host group.

#include "runner/groups/host_group.h"
#include "runner/groups/section.h"

namespace slicer::runner {

/// Reads and checks it; names that are not given are made of the group's. Errors: as parse_host_groups().
Result<GroupNetwork> parse_group_network(const Section& network, const std::string& group);

}  // namespace slicer::runner
