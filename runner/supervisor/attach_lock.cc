#include "runner/supervisor/attach_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

#include "lib/base/whole_file.h"

namespace slicer::runner {
namespace {

struct LockFile {
  std::string path = {};
  UniqueFd fd = {};
};

Result<LockFile> open_lock(const Settings& settings) {
  TRY(ensure_directory(settings.state_dir));
  LockFile file;
  file.path = settings.state_dir + "/.attach.lock";
  file.fd = UniqueFd(open(file.path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  const int err = errno;
  if (!file.fd.valid()) return fail_errno(err, "open '" + file.path + "'");
  return file;
}

}  // namespace

Result<AttachLock> AttachLock::for_add(const Settings& settings) {
  LockFile file = TRY(open_lock(settings));
  while (flock(file.fd.get(), LOCK_SH) != 0) {
    const int err = errno;
    if (err != EINTR) return fail_errno(err, "lock '" + file.path + "'");
  }
  return AttachLock(std::move(file.fd));
}

Result<AttachLock> AttachLock::for_gc(const Settings& settings, std::chrono::milliseconds limit) {
  LockFile file = TRY(open_lock(settings));
  TRY(lock_within(file.fd.get(), file.path, limit));
  return AttachLock(std::move(file.fd));
}

}  // namespace slicer::runner
