#pragma once
// The kernel parameters that tell a guest its network.

#include <string>

#include "lib/cni/result_types.h"

namespace slicer::runner {

/// `ip=<client>::<gateway>:<netmask>:<hostname>:<device>:off:<dns0>:<dns1>` (kernel: Documentation/admin-guide/nfs/
/// nfsroot.rst) for the first IPv4 address of the VM; `ip=:::::<device>:dhcp` and `hostname=` when it has none; IPv6
/// addresses have no standard parameter and follow as `slicer.ip6=<address>/<prefix>,<gateway>`.
/// `guest` is the index of the guest's entry in the result's interfaces.
std::string boot_args(const cni::CniResult& result, int guest, const std::string& vm_name);

}  // namespace slicer::runner
