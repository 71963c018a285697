#pragma once
// Files handed to a hypervisor by descriptor.

#include <string>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"

namespace slicer::runner {

/// A descriptor of a kernel or initrd that any user can open again as /proc/self/fd/N, which is how QEMU reads them:
/// the file itself when all may read it, else a sealed copy in memory (Ubuntu's /boot/vmlinuz-* is root's alone).
Result<UniqueFd> open_boot_file(const std::string& path);

/// A disk, for reading and writing.
Result<UniqueFd> open_disk(const std::string& path);

}  // namespace slicer::runner
