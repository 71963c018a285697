#pragma once
// A process that can be found again: its pid alone may have been given to another.

#include <sys/types.h>

#include <cstdint>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"

namespace slicer::runner {

/// pid and start time (clock ticks since boot, /proc/<pid>/stat field 22) together name one process of this boot.
struct ProcessId {
  pid_t pid = 0;  ///< 0: none
  uint64_t start_time = 0;
  friend bool operator==(const ProcessId&, const ProcessId&) = default;
};

/// The identity of a running process (a zombie still counts). Error: kNotFound.
Result<ProcessId> identify_process(pid_t pid);

/// A pidfd of a process that cannot be another by now: a child not yet reaped. Not valid: errno says why.
UniqueFd open_child(pid_t pid);

/// A pidfd of exactly this process; not valid when it is gone, its pid another's, or `id` is none.
UniqueFd open_process(const ProcessId& id);

/// Waits until the process behind `pidfd` has ended. False when it still runs after `limit_ms`.
bool wait_for_end(const UniqueFd& pidfd, int limit_ms);

/// Sends a signal; an ended process is success. Error: kSystem.
Result<void> signal_process(const UniqueFd& pidfd, int number);

/// The same with a value for its handler, as sigqueue(3).
Result<void> signal_process(const UniqueFd& pidfd, int number, int value);

/// SIGKILL to exactly this process, and waits for its end. Gone already is success. Errors: kSystem, kBusy.
Result<void> kill_process(const ProcessId& id);

}  // namespace slicer::runner
