#pragma once
// A connection to a guest that has been begun.

#include <functional>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"

namespace slicer::runner {

struct Dialled {
  UniqueFd socket = {};  ///< non-blocking; writable when it is decided, and SO_ERROR then says how
  /// To be asked once the connection stands and before anything is carried: whether the guest is at its other end.
  /// Absent: who else it could be need not be asked.
  std::function<Result<void>()> confirm = {};
};

}  // namespace slicer::runner
