#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <csignal>
#include <memory>
#include <set>

#include "lib/base/log.h"
#include "runner/commands/groups.h"
#include "runner/groups/fleet.h"
#include "runner/groups/group_down.h"
#include "runner/groups/group_note.h"
#include "runner/groups/group_vms.h"
#include "runner/groups/yaml.h"
#include "runner/state/vm_definition.h"
#include "runner/supervisor/system_user.h"

namespace slicer::runner {
namespace {

// Longer than an `up` needs for its own way down (fleet.cc).
constexpr int kKeeperLimitMs = 90000;

constexpr const char* kExamples =
    "Examples:\n"
    "  slicer-run down sandbox.yaml    every VM that came from this file\n"
    "  slicer-run down sandbox         every VM of this host group\n"
    "  slicer-run down sandbox --rm    and their disks";

struct Options {
  std::string word = {};
  bool remove = false;
};

/// What is to go.
struct Target {
  std::string word = {};
  std::string file = {};              ///< its real path, when the word names a file
  std::set<std::string> groups = {};  ///< known so far

  /// A group of this name from elsewhere is not this file's.
  [[nodiscard]] bool covers(const std::string& group, const std::string& from) const {
    return !group.empty() && (file.empty() ? groups.contains(group) : from == file);
  }
};

// A file's VMs are found by its path, so it may have been edited since, even wrongly. What it says now is only asked
// for the groups that are still booting.
Result<Target> find_target(const std::string& word) {
  Target target;
  target.word = word;
  const Result<std::string> path = real_path(word);
  if (!path && looks_like_file(word)) return std::unexpected(path.error());
  if (!path || (!looks_like_file(word) && !is_regular_file(word))) {
    target.groups.insert(word);
    return target;
  }
  target.file = *path;
  const Result<HostGroups> groups = read_host_groups(target.file);
  if (!groups) log_line(groups.error().message + ", ignoring");
  if (groups)
    for (const HostGroup& group : groups->groups) target.groups.insert(group.name);
  return target;
}

// Whether there are any.
Result<bool> add_known_groups(const Context& context, Target& target) {
  std::set<std::string> found;
  const auto look_at = [&](const std::string& group, const std::string& file) {
    if (target.covers(group, file)) found.insert(group);
  };
  for (const VmRecord& record : TRY(list_vms(context))) look_at(record.group, record.group_file);
  for (const VmDefinition& vm : TRY(list_definitions(context))) look_at(vm.group, vm.group_file);
  for (const GroupNote& note : TRY(list_notes(context))) look_at(note.group, note.file);
  target.groups.insert(found.begin(), found.end());
  return !found.empty();
}

// Whoever keeps these groups and no others takes its VMs down itself. One that keeps others too sees that these are
// gone.
Result<bool> end_keepers(const Context& context, const Target& target) {
  const auto keepers = TRY(GroupLock::keepers(context));
  bool any = false;
  for (const auto& [group, holder] : keepers) {
    if (!target.covers(group, holder.file)) continue;
    any = true;
    const bool has_others = std::ranges::any_of(keepers, [&](const auto& other) {
      return other.second.process == holder.process && !target.covers(other.first, other.second.file);
    });
    if (has_others) continue;
    const UniqueFd keeper = open_process(holder.process);
    if (!keeper.valid()) continue;
    TRY(signal_process(keeper, SIGTERM).context("end the slicer-run that keeps '" + group + "'"));
    if (!wait_for_end(keeper, kKeeperLimitMs))
      return fail(Kind::kBusy, fmt::format("the slicer-run that keeps host group '{}' does not end", group));
  }
  return any;
}

Result<std::set<std::string>> alive_vms(const Context& context, const Target& target) {
  std::set<std::string> names;
  for (const VmRecord& record : TRY(list_alive_vms(context)))
    if (target.covers(record.group, record.group_file)) names.insert(record.name);
  return names;
}

// What the keepers have ended, they have told elsewhere.
Result<void> tell_ended(const Context& context, const Target& target, const std::set<std::string>& before) {
  const std::set<std::string> still = TRY(alive_vms(context, target));
  for (const std::string& name : before)
    if (!still.contains(name)) TRY(print(name + " is gone\n"));
  return {};
}

// Of an `up` that was killed; they go with what we return.
std::vector<GroupLock> stale_locks(const Context& context, const std::vector<std::string>& groups) {
  std::vector<GroupLock> locks;
  for (const std::string& group : groups) {
    Result<GroupLock> lock =
        GroupLock::acquire(context, GroupLock::Purpose::kKeep, group, "", std::chrono::milliseconds(0));
    if (lock) locks.push_back(std::move(*lock));
  }
  return locks;
}

Result<int> run(const Context& context, const Options& options) {
  TRY(check_root());
  Target target = TRY(find_target(options.word));
  bool any = TRY(add_known_groups(context, target));
  const std::set<std::string> before = TRY(alive_vms(context, target));
  any = TRY(end_keepers(context, target)) || any;
  TRY(tell_ended(context, target, before));
  if (!any && target.file.empty())
    return fail(Kind::kNotFound, fmt::format("no VM of a host group '{}' is up", options.word),
                "slicer-run list shows the VMs");
  if (!any) TRY(print(fmt::format("nothing of '{}' is up\n", options.word)));
  DownWish wish;
  wish.groups.assign(target.groups.begin(), target.groups.end());
  wish.file = target.file;
  wish.remove_disks = options.remove;
  raise_descriptor_limit();
  const Signals signals = TRY(Signals::block());
  const std::vector<GroupLock> locks = TRY(lock_changes(context, wish.groups, options.word));
  const std::vector<GroupLock> stale = stale_locks(context, wish.groups);
  Fleet fleet(context, signals);
  TRY(end_groups(context, wish, fleet));
  return fleet.failed() == 0 ? kExitOk : kExitFailed;
}

}  // namespace

void register_down(CLI::App& app, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App& command = *app.add_subcommand("down", "Shut down the VMs of host groups");
  command.add_option("FILE|GROUP", options->word, "The file that `up` got, or the name of a group")->required();
  command.add_flag("--rm", options->remove, "Remove the VMs' disks and what else is kept of them");
  command.footer(kExamples);
  command.callback([&context, options] { context.action = [&context, options] { return run(context, *options); }; });
}

}  // namespace slicer::runner
