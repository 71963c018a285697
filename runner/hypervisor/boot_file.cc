#include "runner/hypervisor/boot_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include <cerrno>

namespace slicer::runner {
namespace {

Result<UniqueFd> open_regular(const std::string& path, int flags) {
  UniqueFd file(open(path.c_str(), flags | O_CLOEXEC));
  if (!file.valid()) return fail_errno(errno, "open '" + path + "'");
  return file;
}

Result<UniqueFd> sealed_copy(int source, off_t size, const std::string& path) {
  UniqueFd copy(memfd_create("boot-file", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!copy.valid()) return fail_errno(errno, "copy '" + path + "' to memory");
  for (off_t offset = 0; offset < size;) {
    const ssize_t count = sendfile(copy.get(), source, &offset, static_cast<size_t>(size - offset));
    if (count < 0) return fail_errno(errno, "copy '" + path + "' to memory");
    if (count == 0) return fail(Kind::kIo, "copy '" + path + "' to memory: it became shorter");
  }
  // An unprivileged user opens it again, so the mode must let him, and nobody may write.
  if (fchmod(copy.get(), 0444) != 0 || fcntl(copy.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW) != 0)
    return fail_errno(errno, "seal the copy of '" + path + "'");
  return copy;
}

}  // namespace

Result<UniqueFd> open_boot_file(const std::string& path) {
  UniqueFd file = TRY(open_regular(path, O_RDONLY));
  struct stat info{};
  if (fstat(file.get(), &info) != 0) return fail_errno(errno, "read '" + path + "'");
  if (!S_ISREG(info.st_mode)) return fail(Kind::kInvalidConfig, "open '" + path + "': not a regular file");
  if ((info.st_mode & S_IROTH) != 0) return file;
  return sealed_copy(file.get(), info.st_size, path);
}

Result<UniqueFd> open_disk(const std::string& path, DiskAccess access) {
  if (access == DiskAccess::kReadOnly) return open_regular(path, O_RDONLY);
  Result<UniqueFd> disk = open_regular(path, O_RDWR);
  if (!disk && (disk.error().sys_errno == EROFS || disk.error().sys_errno == EACCES || disk.error().sys_errno == EPERM))
    disk.error().hint = "give the VM a disk of its own on top of it: --storage SIZE (storage: in a host group)";
  return disk;
}

}  // namespace slicer::runner
