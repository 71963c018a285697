#pragma once
// What outlives the run of a VM: /var/lib/slicer/vms/<vm>/. A VM that has a vm.json there is kept: it is listed as
// stopped while it does not run, and `vm start` and `up` boot it again. What lies there without a vm.json belongs to
// the VM's run and goes with it. Who changes anything there holds the VM's lock (vm_lock.h).

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/cni/json.h"
#include "runner/settings.h"
#include "runner/state/vm_record.h"

namespace slicer::runner {

/// A disk of the VM's own, and the image's disk that it stands on.
struct KeptDisk {
  std::string format = {};  ///< "qcow2" or "raw"; the file is disk.<format> in the VM's folder
  /// What is below a copy-on-write disk; empty: nothing. Another file there would be another guest's data.
  std::string base = {};
  std::string base_format = {};
  uint64_t base_bytes = 0;
  int64_t base_changed_ns = 0;  ///< its mtime, since the epoch
  friend bool operator==(const KeptDisk&, const KeptDisk&) = default;
};

/// Everything that is needed to boot a VM again, in its user's words.
struct VmDefinition {
  std::string name = {};
  int64_t created = 0;  ///< seconds since the epoch
  std::string group = {};
  std::string group_file = {};

  std::string network = {};
  std::string conf_dir = {};
  std::string conflist = {};  ///< as it was; for a network that is written nowhere else any more

  std::string image_dir = {};              ///< empty: the demo image
  std::optional<std::string> kernel = {};  ///< these four: instead of the image's
  std::optional<std::string> initrd = {};  ///< "": none
  std::optional<std::string> disk = {};    ///< "": none
  std::optional<std::string> cmdline = {};
  unsigned vcpus = 1;
  unsigned ram_mib = 256;
  std::string hypervisor = "qemu";
  std::string hypervisor_path = {};  ///< empty: on PATH
  bool jailer = false;               ///< it is started through its jailer
  std::string jailer_path = {};      ///< empty: beside it, or on PATH
  std::string accelerator = "auto";
  cni::Json capability_args = cni::Json::object();  ///< runtimeConfig as it was asked for
  uint64_t storage_bytes = 0;                       ///< size of a disk of its own; 0: none
  bool storage_copy = false;                        ///< a copy of the image's disk, not a layer above it
  std::vector<std::string> dns_servers = {};
  std::vector<std::string> ssh_keys = {};
  std::string userdata = {};
  std::string restart = "no";  ///< "no", "always" or "on-failure"

  // What its last run knew.
  std::string mac = {};
  std::vector<std::string> addresses = {};  ///< CIDRs that the network gave
  std::optional<KeptDisk> kept_disk = {};
  bool stopped = false;  ///< by `vm stop`: whoever restarts VMs leaves it alone
  friend bool operator==(const VmDefinition&, const VmDefinition&) = default;
};

/// The files of a VM's folder below /var/lib/slicer/vms.
struct KeptFiles {
  std::string folder = {};       ///< 0700
  std::string definition = {};   ///< vm.json, 0600
  std::string known_hosts = {};  ///< its SSH host keys
  std::string seed = {};         ///< its NoCloud seed
};
KeptFiles kept_files(const Settings& settings, const std::string& name);
/// Makes the VM's folder when absent.
Result<KeptFiles> ensure_kept_folder(const Settings& settings, const std::string& name);

cni::Json definition_json(const VmDefinition& definition);
/// Errors: kDecode (also: written by a later version).
Result<VmDefinition> parse_definition(const cni::Json& json);

/// Whole or not at all, and on the disk when this returns.
Result<void> save_definition(const Settings& settings, const VmDefinition& definition);
/// Errors: kNotFound (not kept), kDecode, kSystem.
Result<VmDefinition> load_definition(const Settings& settings, const std::string& name);
/// Nothing when the VM is not kept. Errors: kDecode, kSystem.
Result<std::optional<VmDefinition>> find_definition(const Settings& settings, const std::string& name);

/// Names of all folders there, sorted: kept VMs', and what runs (or dead runs) have there.
Result<std::vector<std::string>> list_kept_folders(const Settings& settings);
/// All kept VMs, those that run too, by name; one that is not readable is told and passed over. Error: kSystem.
Result<std::vector<VmDefinition>> list_definitions(const Settings& settings);

/// The VM is not kept any more; its other files stay. Absent is success.
Result<void> delete_definition(const Settings& settings, const std::string& name);
/// Removes the whole folder, vm.json first: what is left of an interrupted removal is no kept VM.
Result<void> remove_kept(const Settings& settings, const std::string& name);

/// What commands show of a kept VM that does not run: phase kStopped, no addresses.
VmRecord stopped_record(const VmDefinition& definition);
/// Whether a VM that runs, or ran, was started through its hypervisor's jailer.
bool is_jailed(const VmRecord& record);
/// The definition of a VM that ran, from its record. Error: kDecode (made by an older version: it has none).
Result<VmDefinition> definition_of(const VmRecord& record);

}  // namespace slicer::runner
