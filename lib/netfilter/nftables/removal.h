#pragma once
// What goes with a network, or with a VM that has a policy of its own. Private to the nftables files.

#include <string>

#include "lib/netfilter/backend.h"
#include "lib/netfilter/nftables/session.h"

namespace slicer::netfilter {

enum class Change : uint8_t {
  kNone,       ///< nothing to write
  kWrite,      ///< the transaction is complete but for its end
  kReadAgain,  ///< the ruleset changed while it was read
};

/// All that bears one network's mark; our table with the last of it.
Result<Change> put_network_removal(NftSession& session, const std::string& network, MessageBuffer& batch);

/// The policies of VMs for which `gone` holds, and what only they used.
Result<Change> put_vm_removal(NftSession& session, const std::string& network, const VmFilter& gone,
                              MessageBuffer& batch);

}  // namespace slicer::netfilter
