#include "runner/state/vm_lock.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "runner/state/vm_files.h"

namespace slicer::runner {
namespace {

// The file that is locked is the one that the path names: nobody removed the folder while we waited.
bool is_current(const FileLock& lock, const std::string& path) {
  struct stat ours{};
  struct stat named{};
  if (fstat(lock.fd(), &ours) != 0 || stat(path.c_str(), &named) != 0) return false;
  return ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
}

}  // namespace

Result<VmLock> VmLock::acquire(const Settings& settings, const std::string& name, std::chrono::milliseconds limit) {
  const VmFiles files = vm_files(settings, name);
  const auto end = std::chrono::steady_clock::now() + limit;
  for (;;) {
    TRY(ensure_directory(settings.state_dir));
    TRY(ensure_directory(files.folder, 0700));
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    Result<FileLock> lock = FileLock::acquire(files.lock, std::max(left, std::chrono::milliseconds(0)));
    if (lock && is_current(*lock, files.lock)) return VmLock(std::move(*lock));
    const bool folder_removed = lock || lock.error().sys_errno == ENOENT;
    if (!folder_removed) return std::unexpected(std::move(lock).error());
    if (left.count() < 0) return fail(Kind::kBusy, "lock VM '" + name + "': it is being removed", "try again");
  }
}

Result<VmLock> VmLock::try_existing(const Settings& settings, const std::string& name) {
  const VmFiles files = vm_files(settings, name);
  struct stat folder{};
  if (stat(files.folder.c_str(), &folder) != 0) return fail(Kind::kNotFound, "no VM '" + name + "'");
  FileLock lock = TRY(FileLock::try_acquire(files.lock));
  if (!is_current(lock, files.lock)) return fail(Kind::kNotFound, "no VM '" + name + "'");
  return VmLock(std::move(lock));
}

}  // namespace slicer::runner
