#pragma once
// From what a user asks for to a VM that starts: what `vm new` and `up` have in common.

#include <string>

#include "lib/base/result.h"
#include "lib/cni/json.h"
#include "runner/chain/conflist.h"
#include "runner/guest/image.h"
#include "runner/settings.h"
#include "runner/state/vm_lock.h"
#include "runner/supervisor/supervisor.h"

namespace slicer::runner {

/// A VM in a user's words.
struct LaunchSpec {
  std::string name = {};
  chain::Conflist network = {};
  ImageOverrides image = {};
  std::string image_dir = {};  ///< empty: the demo image
  unsigned vcpus = 1;
  unsigned ram_mib = 256;
  std::string hypervisor = "qemu";
  std::string hypervisor_path = {};  ///< empty: on PATH
  bool jailer = false;               ///< start it through its jailer
  std::string jailer_path = {};      ///< empty: beside it, or on PATH; else it is used, whatever `jailer` says
  std::string accelerator = "auto";
  std::string group = {};                           ///< the host group it is of; empty: none
  std::string group_file = {};                      ///< where that is written
  cni::Json capability_args = cni::Json::object();  ///< runtimeConfig: {"policy": {…}, "ips": […]}
  uint64_t storage_bytes = 0;                       ///< of a disk of its own, which is kept; 0: none
  bool storage_copy = false;                        ///< a copy of the image's disk, not a layer above it
  std::vector<std::string> dns_servers = {};        ///< instead of what the network says
  std::vector<std::string> ssh_keys = {};           ///< public keys, for its seed
  std::string userdata = {};                        ///< cloud-config or script, for its seed
  std::string restart = "no";                       ///< what `up` does when it ends: "no", "always", "on-failure"
  KeptWish kept = KeptWish::kRefuse;                ///< what a kept VM of that name means
};

/// Checks all that can be wrong before anything is made: the name, the files to boot from, the rights, the system user,
/// and that the network (or, for a bandwidth, the hypervisor) takes every capability that is asked for: one that no
/// plugin declares would be dropped without a word. Errors: kInvalidConfig, kNotFound, kUnsupportedField, kSystem.
Result<VmRequest> make_request(const Settings& settings, const LaunchSpec& spec);

/// What boots a kept VM again, on its network as it is now.
LaunchSpec spec_of(const VmDefinition& vm, chain::Conflist network);

/// The lock of a name that no VM has, after what a dead VM of that name left is removed. Error: kExists.
Result<VmLock> take_name(const Settings& settings, const std::string& name);

/// "demo-1 runs: 192.0.2.2/24 on network 'host' (qemu, tcg)"
std::string summary_text(const VmRecord& record);

}  // namespace slicer::runner
