#include "lib/net/detached_mount.h"

#include <sys/mount.h>

#include <cerrno>
#include <string>

namespace slicer::net {

Result<UniqueFd> mount_detached(const char* type, unsigned attributes) {
  const std::string action = std::string("mount ") + type;
  const UniqueFd context(fsopen(type, FSOPEN_CLOEXEC));
  if (!context.valid()) return fail_errno(errno, action);
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return fail_errno(errno, action);
  UniqueFd mount(fsmount(context.get(), FSMOUNT_CLOEXEC, attributes));
  if (!mount.valid()) return fail_errno(errno, action);
  return mount;
}

// sysfs shows the network namespace that is current when it is mounted.
Result<UniqueFd> mount_sysfs(const Netns& ns) {
  const ScopedNetns inside = TRY(ScopedNetns::enter(ns));
  return mount_detached("sysfs", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

}  // namespace slicer::net
