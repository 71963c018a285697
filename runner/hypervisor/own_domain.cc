#include "runner/hypervisor/own_domain.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "lib/base/unique_fd.h"

namespace slicer::runner {
namespace {

// Source: Linux, include/uapi/linux/landlock.h and Documentation/userspace-api/landlock.rst. Written out here because
// the headers of older systems lack `scoped`.
struct RulesetAttributes {
  uint64_t handled_access_fs = 0;
  uint64_t handled_access_net = 0;
  uint64_t scoped = 0;
};
constexpr unsigned kAskVersion = 1U << 0;       // LANDLOCK_CREATE_RULESET_VERSION
constexpr uint64_t kMakeBlock = 1U << 11;       // LANDLOCK_ACCESS_FS_MAKE_BLOCK
constexpr uint64_t kAbstractSockets = 1U << 0;  // LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
constexpr uint64_t kSignals = 1U << 1;          // LANDLOCK_SCOPE_SIGNAL
constexpr long kHasScopes = 6;                  // the interface's version: Linux 6.12

}  // namespace

const char* enter_own_domain() {
  const long version = syscall(SYS_landlock_create_ruleset, nullptr, 0, kAskVersion);
  if (version < 1) return nullptr;  // not built in, or switched off at boot
  RulesetAttributes wish;
  // A ruleset must handle something to be one. Without CAP_MKNOD nobody makes block devices anyway.
  wish.handled_access_fs = kMakeBlock;
  size_t size = sizeof wish.handled_access_fs;
  if (version >= kHasScopes) {
    wish.scoped = kSignals | kAbstractSockets;
    size = sizeof wish;
  }
  const UniqueFd ruleset(static_cast<int>(syscall(SYS_landlock_create_ruleset, &wish, size, 0)));
  if (!ruleset.valid()) return "describe a domain of its own";
  return syscall(SYS_landlock_restrict_self, ruleset.get(), 0) == 0 ? nullptr : "enter a domain of its own";
}

}  // namespace slicer::runner
