#pragma once
// A VM's name and its files below /run/slicer.

#include <string>
#include <vector>

#include "lib/base/result.h"
#include "runner/settings.h"

namespace slicer::runner {

/// The files of a VM's folder.
struct VmFiles {
  std::string folder = {};          ///< 0700
  std::string lock = {};            ///< flock'ed while the supervisor lives
  std::string state = {};           ///< the record
  std::string console_socket = {};  ///< the guest's serial console, for any number of viewers
  std::string console_log = {};     ///< everything the guest wrote to it
  std::string hypervisor_log = {};  ///< the hypervisor's own messages
  std::string supervisor_log = {};
  std::string seed = {};        ///< the guest's NoCloud seed
  std::string packet_log = {};  ///< what the network's lists dropped
};
VmFiles vm_files(const Settings& settings, const std::string& name);

/// A VM's name is a DNS name (RFC 1123: labels of 1-63 letters, digits and "-"; small letters, 200 in all) and
/// so a valid container ID. Error: kInvalidConfig.
Result<void> check_vm_name(const std::string& name);

/// Names of all VMs that have a folder, dead ones too, sorted.
Result<std::vector<std::string>> list_vm_names(const Settings& settings);

}  // namespace slicer::runner
