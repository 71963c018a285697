#include "runner/supervisor/cleanup.h"

#include <unistd.h>

#include <filesystem>
#include <vector>

#include "runner/hypervisor/vm_cgroup.h"
#include "runner/state/vm_definition.h"
#include "runner/state/vm_files.h"
#include "runner/supervisor/attachment.h"

namespace slicer::runner {
namespace {

// Whatever lies in the folder of a run, but for its lock: a task of a supervisor may have files of its own there.
Result<void> empty_folder(const VmFiles& files) {
  std::error_code failed;
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(files.folder, failed))
    if (entry.path() != files.lock) paths.push_back(entry.path());
  for (const std::filesystem::path& path : paths) {
    (void)std::filesystem::remove_all(path, failed);
    if (failed) return fail(Kind::kIo, "remove '" + path.string() + "': " + failed.message());
  }
  return {};
}

// What a run has in the folder of what is kept goes with the run, unless the VM is kept. The lock goes last: until then
// nobody else can begin with this name.
Result<void> delete_files(const Settings& settings, const std::string& name) {
  if (access(kept_files(settings, name).definition.c_str(), F_OK) != 0) TRY(remove_kept(settings, name));
  const VmFiles files = vm_files(settings, name);
  TRY(empty_folder(files));
  TRY(delete_file(files.lock));
  (void)rmdir(files.folder.c_str());  // not empty: another has begun with the name
  return {};
}

}  // namespace

Result<void> remove_vm(const Settings& settings, const VmRecord& record, const VmLock& /*lock*/) {
  TRY(kill_process(record.hypervisor));
  if (is_jailed(record)) TRY(delete_vm_cgroup(record.name));
  TRY(detach(settings, record));
  return delete_files(settings, record.name);
}

Result<void> forget_vm(const Settings& settings, const std::string& name, const VmLock& /*lock*/) {
  return delete_files(settings, name);
}

Result<void> clean_leftovers(const Settings& settings, const std::string& name, const VmLock& lock) {
  Result<VmRecord> record = load_record(settings, name);
  if (record) return remove_vm(settings, *record, lock);
  // Without a record nothing was made yet: it is written before the first thing that needs removal.
  if (record.error().kind == Kind::kNotFound) return forget_vm(settings, name, lock);
  return std::unexpected(std::move(record).error());
}

Result<Cleaned> clean_dead_vm(const Settings& settings, const std::string& name) {
  const Result<VmLock> lock = VmLock::try_existing(settings, name);
  if (!lock && lock.error().kind == Kind::kBusy) return Cleaned::kAlive;
  if (!lock && lock.error().kind == Kind::kNotFound) return Cleaned::kAbsent;
  if (!lock) return std::unexpected(lock.error());
  TRY(clean_leftovers(settings, name, *lock)
          .context("clean up after VM '" + name + "'")
          .hint("mend that and try again, or give up what is left: slicer-run vm rm --force " + name));
  return Cleaned::kDone;
}

}  // namespace slicer::runner
