#pragma once
// Who works on a host group: `up` while it boots or stays in the foreground, `down` while it ends it.

#include <chrono>
#include <string>

#include "lib/base/result.h"
#include "lib/base/whole_file.h"
#include "runner/settings.h"
#include "runner/state/process_id.h"

namespace slicer::runner {

/// Held as long as it lives; the file goes with it. It says who holds it.
class GroupLock {
 public:
  /// Who holds a lock, and for which file.
  struct Holder {
    ProcessId process = {};  ///< none: nobody
    std::string file = {};
  };

  /// `file`: where the group is written. Error: kBusy, another holds it for longer than `limit`.
  static Result<GroupLock> acquire(const Settings& settings, const std::string& group, const std::string& file,
                                   std::chrono::milliseconds limit);
  static Holder holder(const Settings& settings, const std::string& group);

  GroupLock(GroupLock&&) noexcept = default;
  GroupLock& operator=(GroupLock&&) = delete;
  ~GroupLock();

 private:
  GroupLock(FileLock lock, std::string path) : lock_(std::move(lock)), path_(std::move(path)) {}

  FileLock lock_;
  std::string path_;  ///< empty: moved from
};

}  // namespace slicer::runner
