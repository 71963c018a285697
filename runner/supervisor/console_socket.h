#pragma once
// The unix socket of a VM's console.

#include <string>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"

namespace slicer::runner {

// Both reach the socket through its folder's descriptor: a VM's name may be longer than a socket address holds (108).

/// A listening socket; replaces what a dead VM left there.
Result<UniqueFd> listen_on(const std::string& folder, const std::string& path);
/// Errors: kUnavailable (nobody listens), kSystem.
Result<UniqueFd> connect_to(const std::string& folder, const std::string& path);

}  // namespace slicer::runner
