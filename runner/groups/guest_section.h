#pragma once
// The keys of a host group that are neither its name nor its network: the machine, and what its guest is told.

#include "runner/groups/host_group.h"
#include "runner/groups/section.h"

namespace slicer::runner {

/// Reads and checks vcpu, ram_gb, ram_mb, hypervisor, image, restart, mac, bandwidth, storage, dns_servers, ssh_keys
/// and userdata into `group`, whose name and count are known. Errors: as parse_host_groups().
Result<void> read_guest(const Section& section, HostGroup& group);

}  // namespace slicer::runner
