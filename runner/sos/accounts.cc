#include "runner/sos/accounts.h"

#include "runner/state/vm_files.h"

namespace slicer::runner {
namespace {

// That OpenSSH's unprivileged half runs as.
constexpr const char* kPrivsepAccount = "sshd";

std::string line_of(const std::string& account, const std::string& passwd) {
  const std::string head = account + ":";
  for (size_t at = 0; at < passwd.size();) {
    const size_t end = std::min(passwd.find('\n', at), passwd.size());
    if (passwd.compare(at, head.size(), head) == 0) return passwd.substr(at, end - at) + "\n";
    at = end + 1;
  }
  return {};
}

}  // namespace

Result<std::string> accounts_text(const std::vector<std::string>& vms, const std::string& host_passwd) {
  const std::string privsep = line_of(kPrivsepAccount, host_passwd);
  if (privsep.empty())
    return fail(Kind::kNotFound, "find system user 'sshd': there is none", "apt install openssh-server");
  std::string text = std::string(kSosAccount) + ":*:0:0:serial consoles:/:/bin/sh\n";
  for (const std::string& vm : vms)
    if (vm != kSosAccount && vm != kPrivsepAccount) text += vm + ":*:0:0:console of this VM:/:/bin/sh\n";
  return text + privsep;
}

Result<std::string> vm_of_session(const std::string& account, const std::string& command) {
  if (account != kSosAccount && !command.empty())
    return fail(Kind::kInvalidConfig, "the console of '" + account + "' takes no command", "leave it out");
  const std::string& name = account == kSosAccount ? command : account;
  if (!name.empty()) TRY(check_vm_name(name));
  return name;
}

}  // namespace slicer::runner
