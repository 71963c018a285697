#pragma once
// Ending host groups.

#include <span>
#include <string>
#include <vector>

#include "lib/base/result.h"
#include "runner/groups/fleet.h"
#include "runner/groups/group_lock.h"
#include "runner/settings.h"

namespace slicer::runner {

struct DownWish {
  std::vector<std::string> groups = {};
  std::string file = {};      ///< only VMs that came from it; empty: all of the groups
  bool remove_disks = false;  ///< and what else is kept of VMs and groups
};

/// Ends the groups' VMs side by side and removes what dead ones left; the groups are not up any more from the first
/// moment on. VMs with a disk of their own stay as stopped ones, which is said. The caller holds the groups' locks for
/// changes. `fleet` counts what failed.
Result<void> end_groups(const Settings& settings, const DownWish& wish, Fleet& fleet);

/// For all of them, in the order of their names, so that two commands never wait for each other. Error: kBusy.
Result<std::vector<GroupLock>> lock_changes(const Settings& settings, std::vector<std::string> groups,
                                            const std::string& file);

}  // namespace slicer::runner
