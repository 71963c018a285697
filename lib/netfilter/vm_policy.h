#pragma once
// The lists of a VM that stand in its own namespace, read back from there.

#include <optional>

#include "lib/base/result.h"
#include "lib/netfilter/backend.h"

namespace slicer::netfilter {

/// What table `inet slicer-vm` of this thread's namespace enforces: the lists and what is closed to every isolated VM,
/// compiled together, with packet counters. IPv4: IPv6 is closed altogether. Or what table `netdev slicer-vm` of a
/// macvtap's namespace enforces. None: there is neither.
/// Errors: kBusy (the ruleset changes all the time), kSystem.
Result<std::optional<PolicyInForce>> read_vm_policy();

}  // namespace slicer::netfilter
