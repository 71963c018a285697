#pragma once
// The lists that are in force for a VM, read from the kernel.

#include <optional>
#include <string>

#include "lib/base/result.h"
#include "lib/netfilter/backend.h"
#include "runner/state/vm_record.h"

namespace slicer::runner {

enum class PolicyScope {
  kVm,         ///< lists of its own, on the host's side
  kNetwork,    ///< the network's, which other VMs share
  kNamespace,  ///< in the VM's own namespace (isolated)
  kLink,       ///< the same, at its macvtap, and nothing else is closed there
};

struct PolicyView {
  PolicyScope scope = PolicyScope::kNetwork;
  std::optional<netfilter::PolicyInForce> policy = {};  ///< absent: nothing is closed
};

/// Errors: kUnavailable (it does not run), kBusy, kSystem.
Result<PolicyView> policy_of(const VmRecord& record);

/// In a few words: "no lists", "allow all but 3", "drop all but 2, by its own lists".
std::string policy_summary(const PolicyView& view);

}  // namespace slicer::runner
