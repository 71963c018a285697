#pragma once
// One SSH connection to the VMs' consoles: the system's sshd, with an account for each VM (docs/ssh.md).

#include <string>

#include "lib/base/result.h"
#include "runner/settings.h"

namespace slicer::runner {

/// Becomes `sshd -i` on the connection that is this process's stdin, in a mount namespace in which /etc/passwd has the
/// accounts of accounts_text() alone. Whatever `config` says, a login runs `slicer-run sos` and nothing else, and gets
/// no forwarding. Returns only when that fails.
Result<void> become_console_sshd(const Settings& settings, const std::string& config);

}  // namespace slicer::runner
