#pragma once
// A VM's life beyond one run: stopped and kept, booted again, removed with all it has.

#include <string>

#include "lib/base/result.h"
#include "runner/settings.h"
#include "runner/supervisor/supervisor.h"

namespace slicer::runner {

enum class Stopped {
  kDone,     ///< it ran (or was dead) and is kept now
  kAlready,  ///< it did not run
  kGone,     ///< it ended by itself, or was removed, before it could be kept
};
/// Ends a VM and keeps it. Of one that is dead, what its run left is removed. Errors: kNotFound, those of stop_vm().
Result<Stopped> stop_and_keep(const Settings& settings, const std::string& name, StopWish wish);

struct Started {
  VmRecord record = {};
  bool already = false;  ///< it ran, or was being started by another command
};
/// Boots a kept VM (or a dead one) again, on its network as it is now. Errors: kNotFound, those of make_request(),
/// take_name() and start_vm().
Result<Started> start_kept(const Settings& settings, const std::string& name);

struct RemoveWish {
  bool now = false;
  bool force = false;  ///< gives up what a failing DEL leaves
};
/// Ends a VM and removes everything it has, its disk too. Errors: kNotFound, those of stop_vm().
Result<void> remove_for_good(const Settings& settings, const std::string& name, const RemoveWish& wish);

}  // namespace slicer::runner
