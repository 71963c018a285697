#pragma once
// Who works on a host group: who keeps it (an `up` in the foreground, or the keeper that `up --detach` leaves behind),
// and who changes it just now.

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/result.h"
#include "lib/base/whole_file.h"
#include "runner/settings.h"
#include "runner/state/process_id.h"

namespace slicer::runner {

/// Goes with a SIGTERM (signal_process()) to a keeper: somebody else looks after its VMs from then on.
inline constexpr int kHandOver = 1;

/// Held as long as it lives; the file goes with it. It says who holds it.
class GroupLock {
 public:
  enum class Purpose {
    kKeep,    ///< held for as long as somebody looks after the group's VMs
    kChange,  ///< held while VMs of the group are added or taken away
  };

  /// Who holds a lock, and for which file.
  struct Holder {
    ProcessId process = {};  ///< none: nobody
    std::string file = {};
    bool background = false;  ///< a keeper: it leaves when it is asked to (kHandOver), and its VMs run on
  };

  /// `file`: where the group is written. Error: kBusy, another holds it for longer than `limit`.
  static Result<GroupLock> acquire(const Settings& settings, Purpose purpose, const std::string& group,
                                   const std::string& file, std::chrono::milliseconds limit);
  /// Who holds the lock; nobody when its process is gone.
  static Holder holder(const Settings& settings, Purpose purpose, const std::string& group);

  /// Everyone who keeps a group, by group.
  static Result<std::vector<std::pair<std::string, Holder>>> keepers(const Settings& settings);

  /// From now on this process, a child of the one that took the lock, holds it.
  Result<void> take_over(const std::string& file);
  /// A child has it: this process lets go of it, and the file stays.
  void leave_to_child();

  GroupLock(GroupLock&&) noexcept = default;
  GroupLock& operator=(GroupLock&&) = delete;
  ~GroupLock();

 private:
  GroupLock(FileLock lock, std::string path) : lock_(std::move(lock)), path_(std::move(path)) {}

  FileLock lock_;
  std::string path_;  ///< empty: moved from
};

}  // namespace slicer::runner
