#pragma once
// A connection to a guest that has been begun.

#include <functional>
#include <memory>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"
#include "runner/process/child.h"

namespace slicer::runner {

struct Dialled {
  UniqueFd socket = {};  ///< non-blocking; writable when it is decided, and SO_ERROR then says how
  /// To be asked once the connection stands and before anything is carried: whether the guest is at its other end.
  /// Absent: who else it could be need not be asked.
  std::function<Result<void>()> confirm = {};
  /// Another way, for when this one is refused; absent: there is none.
  std::function<Result<Dialled>()> instead = {};
  /// What carries the bytes behind the socket: left alone when the connection has ended in good order, for it may still
  /// have some; ended with a connection that broke.
  std::shared_ptr<Child> carrier = {};
  /// The carrier has no other word for a refusal than to end before anything came.
  bool silent_end_is_refusal = false;
};

}  // namespace slicer::runner
