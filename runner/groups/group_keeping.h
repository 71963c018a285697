#pragma once
// Who looks after a file's groups: this process, one that it leaves behind, or another that does so already.

#include <optional>
#include <string>
#include <vector>

#include "lib/base/result.h"
#include "runner/groups/group_lock.h"
#include "runner/groups/host_group.h"
#include "runner/settings.h"
#include "runner/state/vm_definition.h"
#include "runner/state/vm_record.h"
#include "runner/supervisor/signals.h"

namespace slicer::runner {

/// The groups of a file, and the VMs that were booted or found running: one of them may have ended since.
struct UpGroups {
  HostGroups groups = {};
  std::vector<VmRecord> vms = {};
  std::vector<VmDefinition> missed = {};  ///< and those that could not be booted
};

struct Keeping {
  std::vector<GroupLock> locks = {};  ///< empty: another keeps the groups
  pid_t other = 0;                    ///< that one; 0: nobody
};

/// Takes the groups of a file. A keeper in the background hands over when `take_over`; whoever stays in the foreground
/// keeps them. Errors: kExists (a group is up from another file), kBusy (a keeper does not leave).
Result<Keeping> take_keeping(const Settings& settings, const HostGroups& groups, bool take_over);

/// Leaves a keeper behind: a process of its own session that has the locks, whose messages go to
/// <state_dir>/.group-<first group>.log, and that ends with its groups. Returns when it keeps them. Errors: kSystem.
Result<void> leave_keeper(const Settings& settings, const UpGroups& up, std::vector<GroupLock> locks);

/// Keeps them in this process, until a signal comes or they are down; with a signal they are ended.
/// Returns how many VMs could not be ended.
Result<unsigned> keep_groups(const Settings& settings, const UpGroups& up, const Signals& signals);

}  // namespace slicer::runner
