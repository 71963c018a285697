#pragma once
// Files handed to a hypervisor by descriptor.

#include <string>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"

namespace slicer::runner {

/// A descriptor of a kernel or initrd that any user can open again as /proc/self/fd/N, which is how QEMU reads them:
/// the file itself when all may read it, else a sealed copy in memory (Ubuntu's /boot/vmlinuz-* is root's alone).
Result<UniqueFd> open_boot_file(const std::string& path);

enum class DiskAccess { kReadWrite, kReadOnly };
/// A disk. The error says what to do when a guest is to write on one that nobody may write.
Result<UniqueFd> open_disk(const std::string& path, DiskAccess access);

}  // namespace slicer::runner
