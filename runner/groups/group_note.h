#pragma once
// Which host groups are up, and what they were made of: a note in /run/slicer for each, which `up` writes and `down`
// removes. After a reboot no group is up.

#include <optional>
#include <string>
#include <vector>

#include "lib/base/result.h"
#include "runner/groups/host_group.h"
#include "runner/settings.h"

namespace slicer::runner {

/// A group that is up. Files change; what `up` took over last stands here.
struct GroupNote {
  std::string group = {};
  std::string file = {};  ///< where the group is written, without links in its path
  std::string text = {};  ///< the file's text
};

Result<void> write_note(const Settings& settings, const GroupNote& note);
/// None: no such group is up. Errors: kDecode, kSystem.
Result<std::optional<GroupNote>> find_note(const Settings& settings, const std::string& group);
/// By name; one that is not readable is told and passed over. Error: kSystem.
Result<std::vector<GroupNote>> list_notes(const Settings& settings);
/// Absent is success.
Result<void> delete_note(const Settings& settings, const std::string& group);

/// The group as the note's text says it, its network's gateway chosen. Errors: as parse_host_groups().
Result<HostGroup> group_of(const Settings& settings, const GroupNote& note);

}  // namespace slicer::runner
