#include "runner/ssh/ssh_log.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "lib/base/log.h"
#include "lib/base/whole_file.h"

namespace slicer::runner {
namespace {

constexpr size_t kMaxLog = 65536;

constexpr std::string_view kRequestLine = "client_input_channel_req";  // OpenSSH, clientloop.c

// What ssh says when its ProxyCommand ended, which told why; and what we ask it to note.
bool is_not_told(std::string_view line) {
  return line.starts_with("kex_exchange_identification: ") || line.starts_with("Connection closed by UNKNOWN") ||
         line.starts_with("banner exchange: ") || line.find(kRequestLine) != std::string_view::npos;
}

}  // namespace

Result<SshLog> SshLog::make() {
  UniqueFd file(memfd_create("ssh-log", MFD_CLOEXEC));
  if (!file.valid()) return fail_errno(errno, "make a file in memory");
  return SshLog(std::move(file));
}

std::string SshLog::path() const { return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(file_.get()); }

void SshLog::tell(const std::string& vm, const std::string& known_hosts, const std::string& public_key) const {
  if (lseek(file_.get(), 0, SEEK_SET) != 0) return;
  const std::string log = read_fd(file_.get(), kMaxLog).value_or("");
  if (ended_by_signal(log)) return log_line("the command in '" + vm + "' was ended by a signal");
  if (const std::string text = told_of_ssh(log); !text.empty()) log_line("ssh to '" + vm + "': " + text);
  if (const std::string hint = hint_for_ssh(log, known_hosts, public_key); !hint.empty()) log_line("hint: " + hint);
}

bool ended_by_signal(const std::string& log) {
  return log.find("rtype exit-signal", log.find(kRequestLine)) != std::string::npos;
}

std::string told_of_ssh(const std::string& log) {
  std::string text;
  for (size_t at = 0; at < log.size();) {
    const size_t end = std::min(log.find('\n', at), log.size());
    std::string line = log.substr(at, end - at);
    at = end + 1;
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (line.empty() || line.find_first_not_of('@') == std::string::npos || is_not_told(line)) continue;
    text += (text.empty() ? "" : "; ") + line;
  }
  return text;
}

std::string hint_for_ssh(const std::string& log, const std::string& known_hosts, const std::string& public_key) {
  if (log.find("Permission denied") != std::string::npos)
    return "the guest does not take slicer-run's key for this user: the NoCloud seed has it for cloud-init; else put " +
           public_key + " into the user's ~/.ssh/authorized_keys";
  if (log.find("Host key verification failed") != std::string::npos)
    return "the guest shows another host key than at its first connection; if it was set up anew, remove " +
           known_hosts;
  return {};
}

}  // namespace slicer::runner
