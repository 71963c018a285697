#pragma once
// The process that keeps one VM: runs its ADD chain, starts its hypervisor, and takes all of it back at the end.

#include <string>

#include "lib/base/result.h"
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
};

/// Forks the VM's supervisor, gives it the lock and returns when the VM runs: the record as it is then. On failure
/// everything has been taken back. Should this process die before it has the answer, the supervisor ends the VM.
Result<VmRecord> start_vm(const Settings& settings, const VmRequest& request, VmLock lock);

/// Asks a VM's supervisor to end it and waits until its name is free. `now`: without the guest's shutdown. A supervisor
/// that takes too long is killed (its hypervisor dies with it) and cleaned up after. Errors: what the cleanup says.
Result<void> stop_vm(const Settings& settings, const VmRecord& record, bool now);

}  // namespace slicer::runner
