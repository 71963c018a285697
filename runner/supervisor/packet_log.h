#pragma once
// What the lists of a VM's network dropped ("log": true of slicer-firewall), into its packets.log.
//
// The rules stand in the VM's own namespace (isolated, macvtap), where its supervisor is the only reader, or in the
// host's, where the kernel gives the NFLOG group to one reader alone. There the supervisor that comes first reads for
// all: the others connect to its socket in the state folder, say who their VM is, and get the packets that are theirs.
// When it ends, one of them takes its place.

#include <memory>

#include "lib/base/result.h"
#include "runner/chain/conflist.h"
#include "runner/settings.h"
#include "runner/state/vm_record.h"
#include "runner/supervisor/side_task.h"

namespace slicer::runner {

/// Whether a plugin of the network's list can log: lists that are reloaded may begin to.
bool may_log_packets(const chain::Conflist& network);

/// The reader in the VM's own namespace (record.netns). Errors: kBusy, kUnsupportedKernel, kSystem.
Result<std::unique_ptr<SideTask>> read_own_packets(const Settings& settings, const VmRecord& record);

/// The reader in this process's namespace, or one of those who wait to be it. Cannot fail: it tries again.
std::unique_ptr<SideTask> share_host_packets(const Settings& settings, const VmRecord& record);

/// Whichever is right for the network; null when its list cannot log, or for a reason that is logged.
std::unique_ptr<SideTask> make_packet_log(const Settings& settings, const chain::Conflist& network,
                                          const VmRecord& record);

}  // namespace slicer::runner
