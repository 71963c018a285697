// Who makes isolated links, and who removes the rules that they need, one after the other.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <cerrno>
#include <utility>

#include "lib/netfilter/isolation.h"

namespace slicer::netfilter {

namespace {

constexpr const char* kNamespace = "/proc/thread-self/ns/net";

Result<void> lock_file(int fd, int how) {
  while (flock(fd, how) != 0)
    if (errno != EINTR) return fail_errno(errno, fmt::format("lock '{}'", kNamespace));
  return {};
}

}  // namespace

Result<IsolationLock> IsolationLock::acquire(Use use) {
  // All openers of a namespace's file share one inode for as long as one of them has it open (fs/nsfs.c), and flock(2)
  // is the inode's.
  UniqueFd ns(open(kNamespace, O_RDONLY | O_CLOEXEC));
  if (!ns.valid()) return fail_errno(errno, fmt::format("open '{}'", kNamespace));
  TRY(lock_file(ns.get(), use == Use::kAdd ? LOCK_SH : LOCK_EX));
  return IsolationLock(std::move(ns));
}

Result<void> IsolationLock::make_exclusive() { return lock_file(ns_.get(), LOCK_EX); }

}  // namespace slicer::netfilter
