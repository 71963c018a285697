#include "runner/groups/group_apply.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "lib/base/log.h"
#include "runner/groups/group_diff.h"
#include "runner/groups/group_launch.h"
#include "runner/groups/group_pool.h"
#include "runner/groups/group_vms.h"
#include "runner/groups/reload.h"
#include "runner/groups/to_conflist.h"
#include "runner/print.h"

namespace slicer::runner {
namespace {

// Of this group of this file; what else has the name is in the way.
Result<void> check_running(const VmRecord& record, const HostGroup& group, const std::string& file) {
  if (record.group == group.name && record.group_file == file) return {};
  if (record.group == group.name)
    return fail(Kind::kExists,
                fmt::format("host group '{}' is up from another file, '{}'", group.name, record.group_file),
                fmt::format("rename the group, or end it: slicer-run down {}", group.name));
  return fail(Kind::kExists, fmt::format("VM '{}' exists and is not of host group '{}'", record.name, group.name),
              fmt::format("rename the group, or remove the VM: slicer-run vm rm {}", record.name));
}

Result<void> check_note(const std::optional<GroupNote>& note, const std::string& file) {
  if (!note || note->file == file) return {};
  return fail(Kind::kExists, fmt::format("host group '{}' is up from another file, '{}'", note->group, note->file),
              fmt::format("rename the group, or end it: slicer-run down {}", note->group));
}

Result<VmRequest> wanted_vm(const Settings& settings, const GroupPlan& plan, unsigned number, const std::string& file) {
  LaunchSpec spec = TRY(group_vm_spec(plan.group, number, plan.network, file));
  spec.kept = KeptWish::kMay;
  return make_request(settings, spec);
}

// QEMU locks a disk that its guest writes on: the second VM would fail, and for a reason that only QEMU knows.
Result<void> check_disk(const HostGroup& group, const VmRequest& wanted) {
  if (group.count < 2 || wanted.boot.disk.empty() || group.storage_bytes != 0) return {};
  return fail(Kind::kInvalidConfig,
              fmt::format("host group '{}': {} VMs cannot share the image's disk '{}'", group.name, group.count,
                          wanted.boot.disk),
              "give each a disk of its own over it, \"storage: 10G\", or set \"count: 1\"");
}

void plan_running(const VmRecord& record, VmRequest wanted, bool recreate, GroupPlan& plan) {
  const std::vector<std::string> changed = changed_keys(record, wanted);
  if (changed.empty() || !recreate) {
    plan.staying.push_back(record);
    log_line(fmt::format("{} runs already{}", record.name,
                         changed.empty() ? ""
                                         : fmt::format(", with another {} than the file says; to make it anew: "
                                                       "slicer-run up --recreate",
                                                       fmt::join(changed, ", "))));
    return;
  }
  log_line(fmt::format("{} is made anew, with another {}", record.name, fmt::join(changed, ", ")));
  plan.leaving.push_back(record);
  plan.coming.push_back(std::move(wanted));
}

// What `up` made last time, and the file has no more. VMs that `vm new` added have higher numbers or other names.
void plan_surplus(const HostGroup& before, const std::vector<VmRecord>& alive, GroupPlan& plan) {
  for (unsigned number = before.count; number > plan.group.count; --number) {
    const auto found = std::ranges::find(alive, plan.group.vm_name(number), &VmRecord::name);
    if (found != alive.end() && found->group == plan.group.name) plan.leaving.push_back(*found);
  }
}

Result<GroupPlan> plan_group(const Settings& settings, const HostGroup& group, const std::string& file, bool recreate) {
  const std::vector<VmRecord> alive = TRY(list_alive_vms(settings));
  const std::optional<GroupNote> note = TRY(find_note(settings, group.name));
  TRY(check_note(note, file));
  for (const VmRecord& record : alive)
    if (record.group == group.name) TRY(check_running(record, group, file));
  GroupPlan plan;
  plan.group = group;
  plan.network = TRY(group_network(group, file, settings.conf_dir));
  if (group.network) TRY(check_clashes(plan.network, alive));
  for (unsigned number = 1; number <= group.count; ++number) {
    VmRequest wanted = TRY(wanted_vm(settings, plan, number, file));
    TRY(check_disk(group, wanted));
    const auto found = std::ranges::find(alive, wanted.name, &VmRecord::name);
    if (found == alive.end()) {
      plan.coming.push_back(std::move(wanted));
      continue;
    }
    TRY(check_running(*found, group, file));
    plan_running(*found, std::move(wanted), recreate, plan);
  }
  if (!note) return plan;
  const Result<HostGroup> before = group_of(settings, *note);
  if (!before) return plan;  // a version before this one wrote it
  plan_surplus(*before, alive, plan);
  if (before->network && group.network) {
    const Result<chain::Conflist> then = group_network(*before, file, settings.conf_dir);
    plan.reload = then && only_lists_differ(*then, plan.network);
  }
  return plan;
}

Result<void> end_leaving(const Settings& settings, const std::vector<GroupPlan>& plans, const Signals& signals) {
  Fleet leaving(settings, signals);
  for (const GroupPlan& plan : plans)
    for (const VmRecord& record : plan.leaving) leaving.adopt(record);
  TRY(leaving.end());
  if (leaving.failed() == 0) return {};
  return fail(Kind::kBusy, "not every VM could be shut down", "slicer-run gc removes what a dead VM left");
}

Result<void> note_groups(const Settings& settings, const HostGroups& groups) {
  for (const HostGroup& group : groups.groups)
    TRY(write_note(settings, {.group = group.name, .file = groups.file, .text = groups.text}));
  return {};
}

// Its VMs may hold somebody's work, so they are not ended without a word.
Result<void> tell_of_removed_groups(const Settings& settings, const HostGroups& groups) {
  for (const GroupNote& note : TRY(list_notes(settings))) {
    const bool is_there = std::ranges::find(groups.groups, note.group, &HostGroup::name) != groups.groups.end();
    if (note.file == groups.file && !is_there)
      log_line(fmt::format("host group '{}' is not in '{}' any more and stays up; to end it: slicer-run down {}",
                           note.group, groups.file, note.group));
  }
  return {};
}

}  // namespace

Result<std::vector<GroupPlan>> plan_groups(const Settings& settings, const HostGroups& groups, bool recreate) {
  std::vector<GroupPlan> plans;
  for (const HostGroup& group : groups.groups) plans.push_back(TRY(plan_group(settings, group, groups.file, recreate)));
  TRY(tell_of_removed_groups(settings, groups));
  return plans;
}

Result<void> apply_plans(const Settings& settings, const HostGroups& groups, std::vector<GroupPlan> plans,
                         const Signals& signals, Fleet& fleet) {
  for (const GroupPlan& plan : plans)
    if (plan.reload && TRY(reload_lists(settings, plan.network)).failed != 0)
      return fail(Kind::kInternal, fmt::format("not every VM of host group '{}' has the new lists", plan.group.name));
  TRY(end_leaving(settings, plans, signals));
  TRY(note_groups(settings, groups));
  std::vector<VmRequest> coming;
  for (GroupPlan& plan : plans) {
    for (VmRecord& record : plan.staying) fleet.adopt(std::move(record));
    std::ranges::move(plan.coming, std::back_inserter(coming));
    if (plan.group.count == 0)
      TRY(print(fmt::format("host group '{0}': count is 0, so no VM is booted; slicer-run vm new {0} boots one\n",
                            plan.group.name)));
  }
  return fleet.boot(std::move(coming));
}

Result<std::vector<VmRecord>> members_of(const Settings& settings, const std::string& group, const std::string& file) {
  std::vector<VmRecord> records = TRY(list_alive_vms(settings));
  std::erase_if(records, [&](const VmRecord& record) { return record.group != group || record.group_file != file; });
  return records;
}

}  // namespace slicer::runner
