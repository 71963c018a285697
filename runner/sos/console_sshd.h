#pragma once
// One SSH connection to the VMs' consoles: the system's sshd, with an account for each VM (docs/ssh.md).

#include <string>

#include "lib/base/result.h"
#include "runner/settings.h"

namespace slicer::runner {

/// Becomes `sshd -i` on the connection that is this process's stdin, in a mount namespace in which /etc/passwd has the
/// accounts of accounts_text() alone. A login runs `slicer-run sos` and nothing else, and gets no forwarding: what
/// `config` says of that is overruled, and one that check_sshd_config() refuses is not used. Returns only when that
/// fails.
Result<void> become_console_sshd(const Settings& settings, const std::string& config);

/// A configuration of sshd's must not have `Match` or `Include`: what stands in a Match block is stronger than sshd's
/// command line (servconf.c, parse_server_match_config()). Error: kInvalidConfig with the line's number.
Result<void> check_sshd_config(const std::string& text);

}  // namespace slicer::runner
