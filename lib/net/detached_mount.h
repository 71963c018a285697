#pragma once
// File systems on mounts that are attached nowhere: no path leads to them, and they go with the descriptor.

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"
#include "lib/net/netns.h"

namespace slicer::net {

/// The root of a new mount of `type`; `attributes`: MOUNT_ATTR_* of sys/mount.h. Error: kSystem.
Result<UniqueFd> mount_detached(const char* type, unsigned attributes);

/// A sysfs that shows the links of `ns`, read-only. The one at /sys shows those of whoever mounted it. Error: kSystem.
Result<UniqueFd> mount_sysfs(const Netns& ns);

}  // namespace slicer::net
