#pragma once
// The lock of one VM: whoever holds it is the only one to make, change or remove what the VM has.

#include <chrono>
#include <optional>
#include <string>

#include "lib/base/result.h"
#include "lib/base/whole_file.h"
#include "runner/settings.h"

namespace slicer::runner {

/// Held by a supervisor as long as it lives, else for moments by a command that cleans up. A fork shares it (that is
/// how `vm new` hands it to the supervisor it starts); an exec closes it.
class VmLock {
 public:
  /// Makes the VM's folder when absent and takes the lock. A lock whose folder was removed while we waited is not one,
  /// so that is seen and tried again. Error: kBusy (another holds it for longer than `limit`).
  static Result<VmLock> acquire(const Settings& settings, const std::string& name, std::chrono::milliseconds limit);
  /// The same for a VM that must have a folder; does not wait. kNotFound when it has none, kBusy when it is locked.
  static Result<VmLock> try_existing(const Settings& settings, const std::string& name);

  /// For a child that keeps it and closes everything else.
  [[nodiscard]] int fd() const { return lock_.fd(); }

 private:
  explicit VmLock(FileLock lock) : lock_(std::move(lock)) {}
  FileLock lock_;
};

}  // namespace slicer::runner
