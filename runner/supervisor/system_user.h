#pragma once
// The unprivileged user that hypervisors run as.

#include <sys/types.h>

#include "lib/base/result.h"

namespace slicer::runner {

struct SystemUser {
  uid_t uid = 0;
  gid_t gid = 0;
};

/// "slicer-vm". Error: kNotFound with the command that creates it.
Result<SystemUser> hypervisor_user();

/// Error: kSystem unless this process is root, for the commands that change the host.
Result<void> check_root();

}  // namespace slicer::runner
