#pragma once
// What a supervisor tells the `vm new` that started it: the VM's record, or why there is none.

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"
#include "runner/state/vm_record.h"

namespace slicer::runner {

/// False when nobody reads any more.
bool send_report(const UniqueFd& pipe, const Result<VmRecord>& report);
/// Waits for it. Error: the one that was sent, or kInternal when the supervisor ended without a word.
Result<VmRecord> receive_report(const UniqueFd& pipe);

}  // namespace slicer::runner
