#pragma once
// What a run has of an earlier one: definition, disk, MAC and address. For the supervisor, which holds the VM's lock.

#include <vector>

#include "lib/cni/result_types.h"
#include "runner/supervisor/supervisor.h"

namespace slicer::runner {

/// The request's definition with what an earlier run knew, as the request wishes. Errors: kExists (a kept VM is in the
/// way), kNotFound (one is missing), kDecode.
Result<VmDefinition> take_up_kept(const Settings& settings, const VmRequest& request);

/// The VM's disks but its seed: its own one, which is made when it is wanted and not there yet, or the image's. Errors:
/// those of create_disk() and open_kept_disk().
Result<std::vector<Disk>> find_disks(const Settings& settings, const BootFiles& boot, VmDefinition& vm);

/// attach(), asking for the MAC and the address that it had, where the network has a word for that. An address that
/// another has by now is no reason not to boot.
Result<cni::CniResult> attach_as_before(const Settings& settings, const chain::Conflist& network,
                                        const VmDefinition& vm, VmRecord& record);

}  // namespace slicer::runner
