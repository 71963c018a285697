#include "lib/net/netns.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstdlib>

#include "lib/base/log.h"

namespace slicer::net {
namespace {

constexpr const char* kOwnNetns = "/proc/thread-self/ns/net";

}  // namespace

Result<Netns> Netns::open_file(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) {
    const int err = errno;
    Error error = errno_error(err, "open network namespace '" + path + "'");
    if (err == ENOENT || err == ENOTDIR) error.kind = Kind::kNotFound;
    return std::unexpected(std::move(error));
  }
  struct statfs file_system = {};
  if (fstatfs(fd.get(), &file_system) != 0) return fail_errno(errno, "look at network namespace '" + path + "'");
  if (file_system.f_type != NSFS_MAGIC || ioctl(fd.get(), NS_GET_NSTYPE) != CLONE_NEWNET)
    return fail(Kind::kInvalidEnvironment, "open network namespace '" + path + "': the file is no network namespace",
                "a namespace that was deleted leaves such a file behind: remove it and make the namespace anew");
  struct stat status = {};
  if (fstat(fd.get(), &status) != 0) return fail_errno(errno, "look at network namespace '" + path + "'");
  return Netns(std::move(fd), path, status.st_dev, status.st_ino);
}

Result<Netns> Netns::open(const std::string& path) { return open_file(path); }

Result<Netns> Netns::current() { return open_file(kOwnNetns); }

Result<ScopedNetns> ScopedNetns::enter(const Netns& ns) {
  UniqueFd back(::open(kOwnNetns, O_RDONLY | O_CLOEXEC));
  if (!back.valid()) return fail_errno(errno, "open own network namespace");
  if (setns(ns.fd(), CLONE_NEWNET) != 0) return fail_errno(errno, "enter network namespace '" + ns.path() + "'");
  return ScopedNetns(std::move(back));
}

ScopedNetns::~ScopedNetns() {
  if (!back_.valid()) return;  // moved from
  if (setns(back_.get(), CLONE_NEWNET) == 0) return;
  log_line("return to own network namespace: " + errno_text(errno) + ", aborting");
  std::abort();
}

}  // namespace slicer::net
