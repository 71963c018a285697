#include "runner/supervisor/system_user.h"

#include <pwd.h>
#include <unistd.h>

namespace slicer::runner {

Result<SystemUser> hypervisor_user() {
  const passwd* entry = getpwnam("slicer-vm");  // NOLINT(concurrency-mt-unsafe): one thread
  if (entry == nullptr)
    return fail(Kind::kNotFound, "find system user 'slicer-vm': there is none",
                "create it: useradd --system --user-group --no-create-home --shell /usr/sbin/nologin slicer-vm");
  if (entry->pw_uid == 0) return fail(Kind::kInvalidConfig, "system user 'slicer-vm': it has uid 0");
  return SystemUser{.uid = entry->pw_uid, .gid = entry->pw_gid};
}

Result<void> check_root() {
  if (geteuid() == 0) return {};
  return fail(Kind::kSystem, "this needs root: it changes networks and starts hypervisors as another user",
              "run it with sudo");
}

}  // namespace slicer::runner
