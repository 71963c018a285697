#pragma once
// Devices for hypervisors that open them by name (Firecracker, Cloud Hypervisor): shown at that name to one process.

#include <sys/types.h>

#include <span>
#include <string>

#include "lib/base/result.h"
#include "lib/net/link.h"
#include "lib/net/netns.h"

namespace slicer::runner {

/// A character device and the name that it is to be found by.
struct ShownDevice {
  std::string path = {};  ///< there is something already: "/dev/net/tun"
  dev_t number = 0;
};

/// What a VM's link is opened by, at /dev/net/tun: a macvtap's own device (the driver ignores the name in TUNSETIFF),
/// or that of all TAPs, which finds a TAP by its name in the namespace of who opens it. Errors: kNotFound, kSystem.
Result<ShownDevice> tap_device(const net::Netns& sandbox, const net::Link& link);

/// Between fork and exec, as root: gives this process a mount namespace of its own, in which each device is a node at
/// its path that `uid` and `gid` may read and write. No other process sees any of it, and it goes with the process:
/// nothing is made in the host's /dev, nor stays anywhere. @return nullptr, or the step that failed (errno says how).
const char* show_devices(std::span<const ShownDevice> devices, uid_t uid, gid_t gid);

}  // namespace slicer::runner
