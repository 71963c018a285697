#pragma once
// What no record and no cache tells of any more: found by the names that the runner gives things.

#include <string>
#include <vector>

#include "lib/base/result.h"
#include "runner/settings.h"

namespace slicer::runner {

/// Names of VMs without state that have a namespace /run/netns/slicer-<VM> with nothing in it but links of ours. One
/// that holds something else is a stranger's. Error: kSystem.
Result<std::vector<std::string>> find_orphan_namespaces(const Settings& settings);

/// Names of VMs without state, and not kept, that have files below /var/lib/slicer/vms. Error: kSystem.
Result<std::vector<std::string>> find_orphan_files(const Settings& settings);

/// Removes it, under the VM's lock. False: a VM of that name has come meanwhile. Errors: kSystem.
Result<bool> remove_orphan_namespace(const Settings& settings, const std::string& vm);
Result<bool> remove_orphan_files(const Settings& settings, const std::string& vm);

}  // namespace slicer::runner
