#include "lib/cni/netns_path.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cerrno>

#include "lib/base/unique_fd.h"

namespace slicer::cni {

Result<NetnsPath> inspect_netns(const std::string& path) {
  constexpr unsigned long kNsGetNstype = _IO(0xb7, 0x3);  // NS_GET_NSTYPE, linux/nsfs.h
  struct stat there{};
  if (stat(path.c_str(), &there) != 0) {
    const int err = errno;
    if (err == ENOENT || err == ENOTDIR) return NetnsPath::kAbsent;
    Error error = errno_error(err, "look at CNI_NETNS '" + path + "'");
    if (err == ELOOP || err == ENAMETOOLONG) error.kind = Kind::kInvalidEnvironment;  // no path at all
    return std::unexpected(std::move(error));
  }
  struct stat own{};
  if (stat("/proc/self/ns/net", &own) != 0) return fail_errno(errno, "look at '/proc/self/ns/net'");
  // Device and inode are a namespace's identity (namespaces(7)).
  if (there.st_dev == own.st_dev && there.st_ino == own.st_ino) return NetnsPath::kHost;
  if (!S_ISREG(there.st_mode)) return NetnsPath::kForeign;  // and never open a device or a pipe
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return fail_errno(errno, "open CNI_NETNS '" + path + "'");
  return ioctl(file.get(), kNsGetNstype) == CLONE_NEWNET ? NetnsPath::kPrivate : NetnsPath::kForeign;
}

}  // namespace slicer::cni
