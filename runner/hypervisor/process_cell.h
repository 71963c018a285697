#pragma once
// A process namespace that ends with this process, for a child that the parent's death signal does not reach.

#include <sys/types.h>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"

namespace slicer::runner {

/// The kernel forgets PR_SET_PDEATHSIG when a process changes its user, as Firecracker's jailer does. What it does not
/// forget: with the first process of a process namespace all others there are killed. That first process is one of
/// ours, which only waits for its parent's end.
class ProcessCell {
 public:
  /// From now until leave() the children of this process (of one thread) are born in the namespace; they have ordinary
  /// pids here. Errors: kSystem.
  static Result<ProcessCell> enter();
  /// Later children are born where this process is. Aborts when that fails: they would die with the cell.
  void leave();

  ProcessCell(ProcessCell&&) noexcept = default;
  ProcessCell& operator=(ProcessCell&&) = delete;
  /// Ends all that is left in it.
  ~ProcessCell();

 private:
  ProcessCell(UniqueFd home, UniqueFd keeper) : home_(std::move(home)), keeper_(std::move(keeper)) {}

  UniqueFd home_;    ///< not valid: left
  UniqueFd keeper_;  ///< a pidfd; not valid: moved from
};

}  // namespace slicer::runner
