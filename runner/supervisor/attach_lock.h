#pragma once
// GC must not run beside an ADD of its network (CNI SPEC.md, section 2, GC): the new attachment is in no list yet.

#include <chrono>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"
#include "runner/settings.h"

namespace slicer::runner {

/// A flock(2) on a file in the state folder, released by the destructor or with the process.
class AttachLock {
 public:
  /// Any number at once, but none beside a GC. Waits for that one. Error: kSystem.
  static Result<AttachLock> for_add(const Settings& settings);
  /// Alone. Errors: kBusy (an ADD takes longer than `limit`), kSystem.
  static Result<AttachLock> for_gc(const Settings& settings, std::chrono::milliseconds limit);

 private:
  explicit AttachLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace slicer::runner
