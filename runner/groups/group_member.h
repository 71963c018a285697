#pragma once
// One more VM of a group that is up.

#include <cstdint>
#include <optional>
#include <string>

#include "lib/base/result.h"
#include "runner/groups/group_launch.h"
#include "runner/groups/group_lock.h"
#include "runner/groups/group_note.h"

namespace slicer::runner {

/// What a user gave for one VM instead of its group's values.
struct MemberWish {
  std::string name = {};  ///< empty: "<group>-<n>" with the lowest n that no VM has
  ImageOverrides image = {};
  std::optional<unsigned> vcpus = {};
  std::optional<unsigned> ram_mib = {};
  std::optional<std::string> accelerator = {};
  std::optional<std::string> hypervisor = {};
  std::string hypervisor_path = {};
  bool jailer = false;  ///< true: as if the group said so
  std::string jailer_path = {};
  std::optional<uint64_t> storage_bytes = {};
  cni::Json capability_args = cni::Json::object();  ///< {"policy": {…}}
};

/// Boots it. The group's lock for changes is held until the VM has its record, so that two calls never choose the same
/// number, and a `down` meanwhile ends this VM too. Errors: kExhausted (no number is left), kExists (a VM has the
/// name), kNotFound (the group went down meanwhile), those of group_vm_spec(), group_network() and start_vm().
Result<VmRecord> start_member(const Settings& settings, const std::string& group, const MemberWish& wish);

/// Notes a group of a file as up, without VMs, unless it is up from that file already. Errors: kNotFound (the file has
/// no such group), kExists (a group of that name is up from another file).
Result<void> note_group(const Settings& settings, const std::string& group, const std::string& file);

}  // namespace slicer::runner
