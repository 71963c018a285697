#pragma once
// Why a VM of a host group ended: a line that its supervisor leaves for whoever keeps the group (`up`), and only when
// somebody does. Without it the supervisor itself was killed.

#include <optional>
#include <string>

#include "lib/base/result.h"
#include "runner/settings.h"
#include "runner/state/process_id.h"

namespace slicer::runner {

enum class EndReason {
  kAsked,  ///< somebody told the supervisor to end it
  kGuest,  ///< the guest switched itself off
  kReset,  ///< the guest asked for a reset, and was given up after several (supervisor.cc)
  kFailed  ///< the hypervisor ended on its own
};

struct Epitaph {
  ProcessId supervisor = {};
  EndReason reason = EndReason::kFailed;
};

/// Where the one who keeps a group has its lock; group_lock.cc.
std::string keeper_file(const Settings& settings, const std::string& group);

/// Written when somebody keeps `group`.
Result<void> leave_epitaph(const Settings& settings, const std::string& group, const std::string& vm,
                           const Epitaph& epitaph);
/// Reads and removes it. Nothing: there is none of that supervisor.
std::optional<EndReason> take_epitaph(const Settings& settings, const std::string& vm, const ProcessId& supervisor);
/// Removes those of a group that nobody asks for any more.
void forget_epitaphs(const Settings& settings, const std::string& group);

}  // namespace slicer::runner
