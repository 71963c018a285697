#pragma once
// The kernel's command line of a guest: the image's, and what tells it its name and network.

#include <string>

#include "lib/cni/result_types.h"

namespace slicer::runner {

/// What is told to a guest.
struct BootArgs {
  std::string image = {};    ///< the image's command line, or the user's; a parameter that stands in it is not added
  std::string vm_name = {};  ///< the guest's host name
  std::string console = {};  ///< "ttyS0"
};

/// Adds console=, hostname= and ip=: `ip=<client>::<gateway>:<netmask>:<hostname>::off:<dns0>:<dns1>` for the VM's
/// first IPv4 address (kernel: Documentation/admin-guide/nfs/nfsroot.rst), `ip=dhcp` when the VM has no address at all.
/// There is no standard parameter for IPv6: `slicer.ip6=<address>/<prefix>,<gateway>`. `guest` is the index of the
/// guest's entry in the result's interfaces.
std::string boot_command_line(const BootArgs& args, const cni::CniResult& result, int guest);

}  // namespace slicer::runner
