#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/App.hpp>
#include <csignal>
#include <memory>
#include <set>

#include "lib/base/log.h"
#include "runner/commands/groups.h"
#include "runner/groups/fleet.h"
#include "runner/groups/group_lock.h"
#include "runner/groups/group_vms.h"
#include "runner/groups/yaml.h"
#include "runner/supervisor/cleanup.h"
#include "runner/supervisor/system_user.h"

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;

// Longer than an `up` needs for its own way down (fleet.cc).
constexpr int kUpLimitMs = 90000;
constexpr auto kLockLimit = 90s;

constexpr const char* kExamples =
    "Examples:\n"
    "  slicer-run down sandbox.yaml    every VM that came from this file\n"
    "  slicer-run down sandbox         every VM of this host group";

/// What is to go.
struct Target {
  std::string word = {};
  std::string file = {};              ///< its real path, when the word names a file
  std::set<std::string> groups = {};  ///< known so far

  [[nodiscard]] bool covers(const VmRecord& record) const {
    return !record.group.empty() && (groups.contains(record.group) || (!file.empty() && record.group_file == file));
  }
};

bool looks_like_file(const std::string& word) {
  return word.find('/') != std::string::npos || word.ends_with(".yaml") || word.ends_with(".yml");
}

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

Result<std::vector<VmRecord>> vms_of(const Context& context, const Target& target) {
  std::vector<VmRecord> records = TRY(list_vms(context));
  std::erase_if(records, [&](const VmRecord& record) {
    if (!target.covers(record)) return true;
    // A group of this name from elsewhere is not this file's.
    return !target.file.empty() && record.group_file != target.file;
  });
  return records;
}

// An `up` in the foreground takes its VMs down itself.
Result<void> end_up(const GroupLock::Holder& holder, const std::string& group) {
  const UniqueFd up = open_process(holder.process);
  if (!up.valid()) return {};
  TRY(signal_process(up, SIGTERM).context("end the slicer-run that keeps '" + group + "'"));
  if (wait_for_end(up, kUpLimitMs)) return {};
  return fail(Kind::kBusy, fmt::format("the slicer-run that keeps host group '{}' does not end", group));
}

Result<void> clean_dead(const Context& context, const std::vector<VmRecord>& records) {
  for (const VmRecord& record : records) {
    if (is_alive(record)) continue;
    if (TRY(clean_dead_vm(context, record.name)) == Cleaned::kDone)
      TRY(print(fmt::format("{} was dead; what it left is gone\n", record.name)));
  }
  return {};
}

Result<int> end_all(const Context& context, const std::vector<VmRecord>& records) {
  raise_descriptor_limit();
  const Signals signals = TRY(Signals::block());
  Fleet fleet(context, signals);
  for (const VmRecord& record : records)
    if (is_alive(record)) fleet.adopt(record);
  TRY(fleet.end());
  TRY(clean_dead(context, records));
  return fleet.failed() == 0 ? kExitOk : kExitFailed;
}

Result<int> run(const Context& context, const std::string& word) {
  TRY(check_root());
  Target target = TRY(find_target(word));
  const std::vector<VmRecord> before = TRY(vms_of(context, target));
  bool any = !before.empty();
  for (const VmRecord& record : before) target.groups.insert(record.group);
  std::vector<GroupLock> locks;
  for (const std::string& group : target.groups) {
    const GroupLock::Holder holder = GroupLock::holder(context, GroupLock::Purpose::kKeep, group);
    if (holder.process.pid != 0 && !target.file.empty() && holder.file != target.file) continue;  // another file's
    any = any || holder.process.pid != 0;
    TRY(end_up(holder, group));
    locks.push_back(TRY(GroupLock::acquire(context, GroupLock::Purpose::kKeep, group, word, kLockLimit)));
  }
  if (!any && target.file.empty())
    return fail(Kind::kNotFound, fmt::format("no VM of a host group '{}' is up", word),
                "slicer-run list shows the VMs");
  if (!any) TRY(print(fmt::format("nothing of '{}' is up\n", word)));
  return end_all(context, TRY(vms_of(context, target)));
}

}  // namespace

void register_down(CLI::App& app, Context& context) {
  const auto word = std::make_shared<std::string>();
  CLI::App& command = *app.add_subcommand("down", "Shut down the VMs of host groups");
  command.add_option("FILE|GROUP", *word, "The file that `up` got, or the name of a group")->required();
  command.footer(kExamples);
  command.callback([&context, word] { context.action = [&context, word] { return run(context, *word); }; });
}

}  // namespace slicer::runner
