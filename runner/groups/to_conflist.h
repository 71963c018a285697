#pragma once
// A host group's network as CNI sees it.

#include "lib/cni/json.h"
#include "runner/chain/conflist.h"
#include "runner/groups/host_group.h"

namespace slicer::runner {

/// The list that a group with a section "network" stands for, named as the group: saved in the CNI folder (and the
/// section taken out of the YAML) it does the same. Pure. The group must have a
/// network, and one in mode bridge its gateway (group_pool.h).
cni::Json group_conflist_json(const HostGroup& group);

/// The network of a group: the list in memory, or the one of `conf_dir` that `network_name` names. Errors: kExists (a
/// network of `conf_dir` has the group's name), those of chain::load_network().
Result<chain::Conflist> group_network(const HostGroup& group, const std::string& file, const std::string& conf_dir);

/// What VM `number` (from 1) of the group asks the chain for: its address out of `addresses`, its MAC, its bandwidth.
/// 0: a VM with a name of its own, which gets what is free. Error: kExhausted (a list is shorter).
Result<cni::Json> group_capabilities(const HostGroup& group, unsigned number);

}  // namespace slicer::runner
