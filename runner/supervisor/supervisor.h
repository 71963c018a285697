#pragma once
// The process that keeps one VM: runs its ADD chain, starts its hypervisor, and takes all of it back at the end.

#include <string>

#include "lib/base/result.h"
#include "runner/hypervisor/hypervisor.h"
#include "runner/settings.h"
#include "runner/state/vm_lock.h"
#include "runner/state/vm_record.h"

namespace slicer::runner {

/// What `vm new` asks for.
struct VmRequest {
  std::string name = {};
  std::string network = {};
  std::string hypervisor = "qemu";
  BootFiles boot = {};  ///< cmdline: the image's part
  unsigned vcpus = 1;
  unsigned ram_mib = 256;
  Accelerator accelerator = Accelerator::kTcg;
};

/// Forks the VM's supervisor, gives it the lock and returns when the VM runs: the record as it is then. On failure
/// everything has been taken back.
Result<VmRecord> start_vm(const Settings& settings, const VmRequest& request, VmLock lock);

}  // namespace slicer::runner
