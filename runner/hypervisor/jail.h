#pragma once
// The folder that Firecracker's jailer makes its root, and what stands in it. It is a file system in memory that only
// the jailer's mount namespace has: it goes with the last process in there, whatever ends that, and no other process
// sees it. Files are bind mounts of descriptors: nothing is copied, nothing need be on the same file system, and the
// host's folders on the way stay closed to the hypervisor's user.
// Source: Firecracker, src/jailer/src/{main,env,chroot}.rs of 1.7 to 1.17.

#include <string>
#include <vector>

#include "lib/base/result.h"

namespace slicer::runner {

/// A file or folder that is shown in the jail.
struct JailEntry {
  int fd = -1;            ///< of a file with a name: one in memory alone cannot be shown
  std::string path = {};  ///< where; its folder is there, or one of `folders`
  bool folder = false;
  bool writable = false;
};

struct JailSpec {
  std::string base = {};                  ///< an empty folder of the host
  uint64_t bytes = 0;                     ///< what may be written in it
  std::vector<std::string> folders = {};  ///< made in `base`, in this order
  std::vector<JailEntry> entries = {};
  std::string null = {};   ///< where a node like /dev/null is made
  int netns = -1;          ///< -1: none
  std::string netns_path;  ///< where that is shown
};

/// Between fork and exec, as root: gives this process a mount namespace of its own with the jail in it. @return
/// nullptr, or the step that failed (errno says how).
const char* build_jail(const JailSpec& jail);

/// Leaves of this process's capabilities those that the jailer needs, and none that it could gain. What it starts as
/// another user has none. @return nullptr, or the step that failed.
const char* keep_jailer_capabilities();

}  // namespace slicer::runner
