#pragma once
// A VM's own group of processes (cgroup v2), which Firecracker's jailer moves itself into: memory and processes are
// bounded there. The jailer would make one too, but only with limits that every host has a controller for.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/result.h"

namespace slicer::runner {

/// Where the hierarchy is mounted: the first in a text like /proc/self/mounts, as the jailer looks. Nothing: nowhere.
std::optional<std::string> find_cgroup_root(std::string_view mounts);
/// Of this process's mounts.
std::optional<std::string> cgroup_root();

struct CgroupLimits {
  uint64_t memory_bytes = 0;
  unsigned processes = 0;  ///< threads count
};

/// Makes a VM's group, or takes the one that is there, and sets those limits whose controllers the host lets us have.
/// @return its path below the root, for --parent-cgroup. Error: kSystem (a read-only hierarchy, as in containers).
Result<std::string> make_vm_cgroup(const std::string& root, const std::string& vm, const CgroupLimits& limits);

/// Removes it, and ends what is still in it; absent, or no hierarchy, is success. Errors: kSystem, kBusy.
Result<void> delete_vm_cgroup(const std::string& vm);

}  // namespace slicer::runner
