#pragma once
// The two ends of a guest's serial line.

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"
#include "runner/hypervisor/kinds.h"

namespace slicer::runner {

struct SerialLine {
  UniqueFd ours = {};    ///< read(2) and write(2) on it do not wait
  UniqueFd theirs = {};  ///< the hypervisor's
};

/// A pair of sockets, or a terminal that passes every byte on as it is.
Result<SerialLine> make_serial_line(LineKind kind);

}  // namespace slicer::runner
