#pragma once
// Who is attached to a network: VMs of this runner by their records, others by libcni's cache.

#include <string>
#include <vector>

#include "runner/chain/cache.h"
#include "runner/settings.h"

namespace slicer::runner {

enum class AttachmentState {
  kRunning,  ///< a VM whose supervisor lives
  kDead,     ///< a VM whose supervisor is dead, or that has no state any more (a reboot)
  kOther,    ///< another runtime's, whose namespace is there
  kGone,     ///< another runtime's, whose namespace is gone
};
const char* state_name(AttachmentState state);

struct NetworkAttachment {
  chain::AttachmentKey key = {};
  AttachmentState state = AttachmentState::kOther;
  std::string addresses = {};  ///< "192.0.2.7/24, 2001:db8::7/64"
};

/// Of all networks, by network, container ID and interface. Error: kSystem.
Result<std::vector<NetworkAttachment>> list_attachments(const Settings& settings);
/// Of one network.
Result<std::vector<NetworkAttachment>> list_attachments(const Settings& settings, const std::string& network);

/// Entries that the runner made and whose VM has no state any more: a reboot took it, or somebody removed it.
Result<std::vector<chain::CacheEntry>> orphaned_entries(const Settings& settings);

}  // namespace slicer::runner
