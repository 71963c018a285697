#pragma once
// The process that keeps one VM: runs its ADD chain, starts its hypervisor, and takes all of it back at the end.

#include <sys/types.h>

#include <chrono>
#include <string>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"
#include "runner/chain/conflist.h"
#include "runner/hypervisor/hypervisor.h"
#include "runner/settings.h"
#include "runner/state/vm_definition.h"
#include "runner/state/vm_lock.h"
#include "runner/state/vm_record.h"
#include "runner/supervisor/stop_order.h"

namespace slicer::runner {

/// What of a VM that is kept (vm_definition.h): its disk, its MAC, the address it had.
enum class KeptWish {
  kRefuse,  ///< a name that a kept VM has is an error: `vm new`
  kMay,     ///< goes on with it, or begins anew: `up`
  kMust,    ///< goes on with it: `vm start`
};

/// A VM that is to be started, checked.
struct VmRequest {
  std::string name = {};
  VmDefinition definition = {};  ///< in the user's words; what an earlier run knew comes from the kept VM
  chain::Conflist network = {};
  BootFiles boot = {};  ///< cmdline: the image's part
  Accelerator accelerator = Accelerator::kTcg;
  HypervisorProgram program = {};
  std::string runner_key = {};  ///< slicer-run's own public key, for the seed; empty: there is none
  KeptWish kept = KeptWish::kRefuse;
};

/// A VM that is starting: its supervisor and the pipe that its answer comes by.
struct StartingVm {
  std::string name = {};
  pid_t supervisor = 0;
  UniqueFd answer = {};  ///< readable when there is one
};

/// Forks the VM's supervisor and gives it the lock. Should this process die before it has the answer, the supervisor
/// ends the VM.
Result<StartingVm> begin_vm(const Settings& settings, const VmRequest& request, VmLock lock);

/// Waits for the answer: the record of a VM that runs; on failure everything has been taken back.
Result<VmRecord> await_vm(StartingVm starting);

/// Both, one after the other.
Result<VmRecord> start_vm(const Settings& settings, const VmRequest& request, VmLock lock);

/// How a VM is ended.
struct StopWish {
  bool now = false;                              ///< without the guest's shutdown
  bool keep = false;                             ///< it is stopped then, and can be booted again; else it is gone
  std::chrono::seconds limit = kPowerDownLimit;  ///< for the guest's shutdown; kMaxStopLimit at most
};
inline constexpr std::chrono::seconds kMaxStopLimit{24 * 3600};

/// Asks a VM's supervisor to end it; does not wait. A supervisor that is dead is success. Errors: those of
/// save_definition() (a VM that cannot be kept is not asked), kSystem.
Result<void> ask_to_stop(const Settings& settings, const VmRecord& record, const StopWish& wish);

/// Asks, and waits until nothing of the run is left. A supervisor that takes too long is killed (its hypervisor dies
/// with it) and cleaned up after. A kept VM stays kept. Errors: those of ask_to_stop(), and what the
/// cleanup says.
Result<void> stop_vm(const Settings& settings, const VmRecord& record, const StopWish& wish);

}  // namespace slicer::runner
