#pragma once
// Unix sockets in a VM's folder. They are reached through the folder's descriptor: a VM's name may be longer than a
// socket address holds (107 bytes, unix(7)).

#include <string>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"

namespace slicer::runner {

/// A listening stream socket at an absolute path; replaces what a dead VM left there.
Result<UniqueFd> listen_on(const std::string& path);
/// A stream socket, connected. Errors: kUnavailable (nobody listens), kSystem.
Result<UniqueFd> connect_to(const std::string& path);

}  // namespace slicer::runner
