#pragma once
// Bringing host groups to what their file says.

#include <string>
#include <vector>

#include "lib/base/result.h"
#include "runner/groups/fleet.h"
#include "runner/groups/group_note.h"
#include "runner/groups/host_group.h"
#include "runner/supervisor/launch.h"

namespace slicer::runner {

/// What is to be done for one group, found out before anything is.
struct GroupPlan {
  HostGroup group = {};
  chain::Conflist network = {};
  bool reload = false;                 ///< VMs that run take over edited lists
  std::vector<VmRecord> leaving = {};  ///< numbers above a lowered count, and those to be made anew
  std::vector<VmRequest> coming = {};
  std::vector<VmRecord> staying = {};
};

/// Checks the file's groups against what runs and what networks there are, and says what of running VMs is not as the
/// file says. `recreate`: such VMs are made anew. Errors: kExists (another's VM, network or group is in the way), those
/// of group_network() and make_request().
Result<std::vector<GroupPlan>> plan_groups(const Settings& settings, const HostGroups& groups, bool recreate);

/// Does it: lists first, then the end of what leaves, the notes, and what comes, over all groups at once. `fleet` has
/// the VMs that run then. The caller holds the groups' locks for changes.
Result<void> apply_plans(const Settings& settings, const HostGroups& groups, std::vector<GroupPlan> plans,
                         const Signals& signals, Fleet& fleet);

/// VMs that run of the groups' numbers and of other names, of this file.
Result<std::vector<VmRecord>> members_of(const Settings& settings, const std::string& group, const std::string& file);

}  // namespace slicer::runner
