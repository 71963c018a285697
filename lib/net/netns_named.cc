#include <fcntl.h>
#include <linux/if.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstring>

#include "lib/base/undo.h"
#include "lib/base/whole_file.h"
#include "lib/net/netns.h"

namespace slicer::net {
namespace {

constexpr const char* kOwnNetns = "/proc/thread-self/ns/net";

bool is_namespace(const std::string& path) {
  struct statfs file_system = {};
  return statfs(path.c_str(), &file_system) == 0 && file_system.f_type == NSFS_MAGIC;
}

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

/// A shared mount of its own, so that a namespace that is unbound in one mount namespace goes in all. iproute2 does the
/// same to /run/netns, and whoever comes first decides for all.
Result<void> share_folder(const std::string& folder) {
  const std::string action = "share folder '" + folder + "'";
  if (mount("", folder.c_str(), "none", MS_SHARED | MS_REC, nullptr) == 0) return {};
  if (errno != EINVAL) return fail_errno(errno, action);
  if (mount(folder.c_str(), folder.c_str(), "none", MS_BIND | MS_REC, nullptr) != 0) return fail_errno(errno, action);
  if (mount("", folder.c_str(), "none", MS_SHARED | MS_REC, nullptr) != 0) return fail_errno(errno, action);
  return {};
}

/// One at a time, as iproute2 does it: two that share the folder at once would stack its mounts.
Result<UniqueFd> lock_folder(const std::string& folder) {
  UniqueFd fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno(errno, "open folder '" + folder + "'");
  while (flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return fail_errno(errno, "lock folder '" + folder + "'");
  }
  return fd;
}

Result<void> make_mount_point(const std::string& path) {
  if (is_namespace(path)) return fail(Kind::kExists, "create network namespace '" + path + "': one is there already");
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0));
  if (!file.valid()) return fail_errno(errno, "create '" + path + "'");
  return {};
}

Result<void> raise_loopback() {
  const UniqueFd any(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request = {};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  if (!any.valid() || ioctl(any.get(), SIOCSIFFLAGS, &request) != 0) return fail_errno(errno, "raise loopback");
  return {};
}

/// In the new namespace; the caller brings the thread back.
Result<void> bind_own_netns(const std::string& path) {
  TRY(raise_loopback());
  if (mount(kOwnNetns, path.c_str(), "none", MS_BIND, nullptr) != 0)
    return fail_errno(errno, "bind network namespace to '" + path + "'");
  return {};
}

}  // namespace

Result<void> create_named_netns(const std::string& path) {
  const std::string folder = folder_of(path);
  TRY(ensure_directory(folder));
  const UniqueFd lock = TRY(lock_folder(folder));
  TRY(share_folder(folder));
  TRY(make_mount_point(path));
  Undo undo;
  undo.push("remove '" + path + "'", [&] { return delete_file(path); });
  const Netns own = TRY(Netns::current());
  {
    const ScopedNetns back = TRY(ScopedNetns::enter(own));  // remembers the way back, whatever the next lines do
    if (unshare(CLONE_NEWNET) != 0) return fail_errno(errno, "create network namespace '" + path + "'");
    TRY(bind_own_netns(path));
  }
  undo.commit();
  return {};
}

Result<void> delete_named_netns(const std::string& path) {
  // More than one may be stacked there; EINVAL: no mount point (any more).
  while (umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
  }
  if (const int err = errno; err != EINVAL && err != ENOENT)
    return fail_errno(err, "unbind network namespace '" + path + "'");
  return delete_file(path);
}

}  // namespace slicer::net
