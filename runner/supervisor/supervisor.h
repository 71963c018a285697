#pragma once
// The process that keeps one VM: runs its ADD chain, starts its hypervisor, and takes all of it back at the end.

#include <sys/types.h>

#include <string>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"
#include "lib/cni/json.h"
#include "runner/chain/conflist.h"
#include "runner/hypervisor/hypervisor.h"
#include "runner/settings.h"
#include "runner/state/vm_lock.h"
#include "runner/state/vm_record.h"

namespace slicer::runner {

/// What `vm new` asks for.
struct VmRequest {
  std::string name = {};
  chain::Conflist network = {};
  std::string hypervisor = "qemu";
  BootFiles boot = {};  ///< cmdline: the image's part
  unsigned vcpus = 1;
  unsigned ram_mib = 256;
  Accelerator accelerator = Accelerator::kTcg;
  std::string group = {};       ///< the host group; empty: none
  std::string group_file = {};  ///< where the group is written
  /// What the plugins that declare it get as runtimeConfig.
  cni::Json capability_args = cni::Json::object();
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

/// Asks a VM's supervisor to end it and waits until its name is free. `now`: without the guest's shutdown. A supervisor
/// that takes too long is killed (its hypervisor dies with it) and cleaned up after. Errors: what the cleanup says.
Result<void> stop_vm(const Settings& settings, const VmRecord& record, bool now);

}  // namespace slicer::runner
