#pragma once
// The system's OpenSSH client, told how to reach a guest and whom to trust there (docs/ssh.md).

#include <string>
#include <vector>

#include "lib/base/result.h"
#include "runner/settings.h"
#include "runner/state/vm_record.h"

namespace slicer::runner {

struct SshWish {
  std::string user = "root";
  unsigned wait_s = 0;                    ///< for a guest that does not answer yet
  bool terminal = false;                  ///< a terminal in the guest
  std::vector<std::string> more = {};     ///< further options
  std::vector<std::string> command = {};  ///< what to run, word by word; empty: the user's shell
};

/// `ssh` with this runner's key, by `vm port-forward NAME --stdio 22`. Only the key that the VM showed at its first
/// connection is taken for it (known_hosts_file()); nobody's configuration is read. Errors: kNotFound (no ssh, no key).
Result<std::vector<std::string>> ssh_argv(const Settings& settings, const std::string& vm, const SshWish& wish);

/// Where the host keys that a VM showed are kept: with its disk when it has one of its own, as they are on that; else
/// with its run. It goes with the VM.
std::string known_hosts_file(const Settings& settings, const std::string& vm);

/// One line of a shell, from which it reads exactly these words.
std::string shell_line(const std::vector<std::string>& words);

/// Runs an ssh command to its end, with this process's stdin, stdout and stderr; signals go on to it. What ssh itself
/// has to say is told in our words, apart from what the command writes. @return the command's exit code; 255 when ssh
/// failed.
Result<int> run_ssh(const Settings& settings, const std::string& vm, const SshWish& wish);

/// ssh's code for its own failures.
inline constexpr int kSshFailed = 255;

}  // namespace slicer::runner
