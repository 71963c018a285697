#include "runner/groups/group_down.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "runner/groups/group_note.h"
#include "runner/groups/group_pool.h"
#include "runner/groups/group_vms.h"
#include "runner/life/kept_vms.h"
#include "runner/print.h"
#include "runner/state/epitaph.h"
#include "runner/state/vm_definition.h"
#include "runner/supervisor/cleanup.h"

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;

constexpr auto kChangeLimit = 120s;  // an `up` of many VMs has the lock until they run

bool covers(const DownWish& wish, const std::string& group, const std::string& file) {
  return std::ranges::find(wish.groups, group) != wish.groups.end() && (wish.file.empty() || wish.file == file);
}

Result<void> clean_dead(const Settings& settings, const std::vector<VmRecord>& records, Fleet& fleet) {
  for (const VmRecord& record : records) {
    if (is_alive(record)) continue;
    const Result<Cleaned> cleaned = clean_dead_vm(settings, record.name);
    if (!cleaned) fleet.report(cleaned.error());
    if (cleaned && *cleaned == Cleaned::kDone)
      TRY(print(fmt::format("{} was dead; what it left is gone\n", record.name)));
  }
  return {};
}

// What `vm stop` kept of a VM without a disk goes with its group.
Result<void> end_kept(const Settings& settings, const DownWish& wish, Fleet& fleet) {
  std::vector<std::string> staying;
  for (const VmDefinition& vm : TRY(list_definitions(settings))) {
    if (!covers(wish, vm.group, vm.group_file)) continue;
    if (vm.kept_disk && !wish.remove_disks) {
      staying.push_back(vm.name);
      continue;
    }
    const Result<void> removed = remove_for_good(settings, vm.name, {});
    if (!removed) fleet.report(removed.error());
    if (removed) TRY(print(fmt::format("{} and what was kept of it is gone\n", vm.name)));
  }
  if (staying.empty()) return {};
  return print(fmt::format("kept with their disks: {} (up boots them again; down --rm or vm rm removes them)\n",
                           fmt::join(staying, ", ")));
}

}  // namespace

Result<void> end_groups(const Settings& settings, const DownWish& wish, Fleet& fleet) {
  for (const std::string& group : wish.groups) {
    const std::optional<GroupNote> note = TRY(find_note(settings, group));
    if (note && covers(wish, group, note->file)) TRY(delete_note(settings, group));
  }
  std::vector<VmRecord> records = TRY(list_vms(settings));
  std::erase_if(records, [&](const VmRecord& record) { return !covers(wish, record.group, record.group_file); });
  for (const VmRecord& record : records)
    if (is_alive(record)) fleet.adopt(record);
  TRY(fleet.end());
  TRY(clean_dead(settings, records, fleet));
  for (const std::string& group : wish.groups) forget_epitaphs(settings, group);
  TRY(end_kept(settings, wish, fleet));
  if (wish.remove_disks)
    for (const std::string& group : wish.groups) TRY(forget_group(settings, group));
  return {};
}

Result<std::vector<GroupLock>> lock_changes(const Settings& settings, std::vector<std::string> groups,
                                            const std::string& file) {
  std::ranges::sort(groups);
  std::vector<GroupLock> locks;
  for (const std::string& group : groups)
    locks.push_back(TRY(GroupLock::acquire(settings, GroupLock::Purpose::kChange, group, file, kChangeLimit)));
  return locks;
}

}  // namespace slicer::runner
