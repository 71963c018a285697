#pragma once
// Removing what a VM had: its hypervisor, its attachment, its namespace, its state.

#include "lib/base/result.h"
#include "runner/settings.h"
#include "runner/state/vm_lock.h"
#include "runner/state/vm_record.h"

namespace slicer::runner {

enum class Cleaned { kAlive, kDone, kAbsent };

/// Cleans up after a VM whose supervisor is dead (its lock is free): ends an orphaned hypervisor, runs the DEL chain,
/// removes namespace and state. kAlive: the lock is held, nothing was touched. When the DEL chain fails the state
/// stays, so that the next command tries again, and the error is returned.
Result<Cleaned> clean_dead_vm(const Settings& settings, const std::string& name);

// For the holder of the lock.

/// What the record says, taken back; then the VM's folder. On an error the folder stays.
Result<void> remove_vm(const Settings& settings, const VmRecord& record, const VmLock& lock);
/// The same for a dead VM, whatever it left; nothing left is success.
Result<void> clean_leftovers(const Settings& settings, const std::string& name, const VmLock& lock);
/// Only removes the folder: what else the VM had is given up.
Result<void> forget_vm(const Settings& settings, const std::string& name, const VmLock& lock);

}  // namespace slicer::runner
