#pragma once
// Looking after the VMs of groups that are up: who ends is reported, what is left of it removed, and it is booted again
// where its group says so.

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"
#include "runner/groups/fleet.h"
#include "runner/groups/group_note.h"
#include "runner/state/epitaph.h"
#include "runner/state/restart_policy.h"
#include "runner/state/vm_definition.h"
#include "runner/supervisor/signals.h"

namespace slicer::runner {

/// How long until a VM is booted again: 1 s, then twice as long each time, a minute at most; a VM that lived for a
/// minute begins anew.
class BackOff {
 public:
  using Clock = std::chrono::steady_clock;

  /// How long to wait after it ended, having lived that long (or could not be booted: 0).
  std::chrono::seconds after_end(Clock::duration life);

 private:
  unsigned attempts_ = 0;
};

/// Whether a VM that ended is to be booted again. `reason` empty: its supervisor was killed.
bool wants_restart(RestartPolicy policy, std::optional<EndReason> reason);

class GroupKeeper {
 public:
  enum class End {
    kSignal,      ///< somebody wants the groups down
    kHandedOver,  ///< somebody else keeps them from now on
    kDown,        ///< the groups are down
    kLast,        ///< all VMs have ended, and none is to come back
  };

  /// Keeps the groups that are up from `file`. `stays`: even without a VM.
  GroupKeeper(const Settings& settings, const Signals& signals, std::string file, bool stays)
      : settings_(settings), signals_(signals), file_(std::move(file)), stays_(stays) {}

  /// A VM that was just booted, whether it still runs or not.
  void adopt(VmRecord record);
  /// A VM that could not be booted: as one that failed right after its boot.
  void try_again(const VmDefinition& vm);

  Result<End> keep();
  /// The groups that it kept last.
  [[nodiscard]] const std::vector<GroupNote>& notes() const { return notes_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Watched {
    VmRecord record = {};
    UniqueFd pidfd = {};
    Clock::time_point since = Clock::now();
  };
  struct Restart {
    VmRecord last = {};
    Clock::time_point due = {};
  };

  Result<void> watch_folder();
  Result<void> look();
  Result<void> wait();
  Result<void> on_end(Watched vm);
  Result<void> restart_due();
  Result<VmRequest> request_again(const VmRecord& last, const GroupNote& note, bool same_address) const;
  Result<void> restart(const Restart& wish);
  void plan_restart(const VmRecord& last, Clock::duration life);
  [[nodiscard]] std::chrono::seconds wait_of(const std::string& vm) const;  ///< until it is booted again
  [[nodiscard]] RestartPolicy policy_of(const std::string& group) const;
  [[nodiscard]] int limit_ms() const;
  [[nodiscard]] std::optional<End> end_of_keeping();

  const Settings& settings_;
  const Signals& signals_;
  std::string file_;
  bool stays_ = false;
  UniqueFd folder_ = {};  ///< inotify of the state folder
  Clock::time_point look_again_ = Clock::time_point::max();
  std::vector<GroupNote> notes_ = {};
  std::map<std::string, RestartPolicy> policies_ = {};
  std::map<std::string, Watched> watched_ = {};
  std::map<std::string, Restart> restarts_ = {};
  std::map<std::string, BackOff> back_offs_ = {};
  Signals::Taken signal_ = {};
};

}  // namespace slicer::runner
