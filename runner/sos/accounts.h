#pragma once
// The accounts that one sshd knows: a VM each, and "sos".

#include <string>
#include <vector>

#include "lib/base/result.h"

namespace slicer::runner {

/// The account whose command names the VM: `ssh -t sos@host demo-1`.
inline constexpr const char* kSosAccount = "sos";

/// A passwd(5) file with an account for each VM and kSosAccount, all of uid 0 and without a password, and the account
/// that sshd gives its rights away to ("sshd"), as `host_passwd` has it. A VM with one of those two names gets none: it
/// is reached by kSosAccount. Error: kNotFound (the host has no account "sshd").
Result<std::string> accounts_text(const std::vector<std::string>& vms, const std::string& host_passwd);

/// Which VM a session of sshd's is for: `account` is who logged in, `command` what he asked to run. Empty: he is
/// kSosAccount and asked for none. Both come from an untrusted peer. Error: kInvalidConfig.
Result<std::string> vm_of_session(const std::string& account, const std::string& command);

}  // namespace slicer::runner
