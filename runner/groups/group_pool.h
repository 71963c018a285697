#pragma once
// The subnet of a bridge group whose file names none, and what two networks of a host must not share.

#include <span>
#include <string>
#include <vector>

#include "lib/base/result.h"
#include "runner/chain/conflist.h"
#include "runner/groups/host_group.h"
#include "runner/settings.h"
#include "runner/state/vm_record.h"

namespace slicer::runner {

enum class Keep {
  kNo,   ///< only looked at
  kYes,  ///< written down, so that the group has the same subnet the next time, after a reboot too
};

/// Gives each bridge group without a gateway the first address of a /24: the one that was kept for it
/// (<data_dir>/groups/<group>.json), unless the host or another network has it by now; else a free one, searched from
/// where the group's name hashes to. Errors: kExhausted, kSystem.
Result<void> choose_gateways(const Settings& settings, HostGroups& groups, Keep keep);

/// What was kept for a group goes; absent is success.
Result<void> forget_group(const Settings& settings, const std::string& group);

/// Subnets of networks in the CNI folder and of other groups (kept, or in `groups`), as far as they can be read.
std::vector<addr::Cidr> taken_subnets(const Settings& settings, const std::string& group,
                                      std::span<const HostGroup> groups = {});

/// A VM that runs on another network may have neither this one's bridge nor an address of its pool. Isolated networks
/// share their ranges. Error: kExists, naming the other.
Result<void> check_clashes(const chain::Conflist& network, std::span<const VmRecord> alive);

}  // namespace slicer::runner
