#include "runner/state/process_id.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <string>
#include <string_view>

#include "lib/base/whole_file.h"

namespace slicer::runner {
namespace {

constexpr int kKillLimitMs = 5000;

// proc(5): "pid (comm) state ppid …"; comm may hold anything, so fields are counted behind the last ')'.
Result<uint64_t> start_time_of(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  const std::string stat = TRY(read_file(path));
  std::string_view rest = stat;
  rest.remove_prefix(std::min(rest.size(), stat.rfind(')') + 1));
  constexpr int kStartTime = 22;
  for (int field = 2; field < kStartTime; ++field) {
    const size_t space = rest.find(' ');
    if (space == std::string_view::npos) return fail(Kind::kDecode, "read '" + path + "': too few fields");
    rest.remove_prefix(space + 1);
  }
  uint64_t ticks = 0;
  if (std::from_chars(rest.data(), rest.data() + rest.size(), ticks).ec != std::errc{})
    return fail(Kind::kDecode, "read '" + path + "': field 22 is not a number");
  return ticks;
}

}  // namespace

Result<ProcessId> identify_process(pid_t pid) {
  const Result<uint64_t> start = start_time_of(pid);
  if (!start) return fail(Kind::kNotFound, "find process " + std::to_string(pid) + ": " + start.error().message);
  return ProcessId{.pid = pid, .start_time = *start};
}

// By number: the wrappers in glibc 2.36's <sys/pidfd.h> have no C linkage for C++.
UniqueFd open_child(pid_t pid) { return UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))); }

UniqueFd open_process(const ProcessId& id) {
  if (id.pid <= 0) return {};
  UniqueFd pidfd = open_child(id.pid);
  if (!pidfd.valid()) return {};
  // In this order: once the pidfd is open the pid cannot become another's unnoticed.
  const Result<uint64_t> start = start_time_of(id.pid);
  if (!start || *start != id.start_time || wait_for_end(pidfd, 0)) return {};
  return pidfd;
}

bool wait_for_end(const UniqueFd& pidfd, int limit_ms) {
  pollfd entry{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
  return poll(&entry, 1, limit_ms) > 0;
}

Result<void> signal_process(const UniqueFd& pidfd, int number) {
  if (syscall(SYS_pidfd_send_signal, pidfd.get(), number, nullptr, 0) == 0 || errno == ESRCH) return {};
  return fail_errno(errno, "send signal " + std::to_string(number));
}

Result<void> signal_process(const UniqueFd& pidfd, int number, int value) {
  siginfo_t info{};
  info.si_signo = number;
  info.si_code = SI_QUEUE;
  info.si_pid = getpid();
  info.si_uid = getuid();
  info.si_value.sival_int = value;
  if (syscall(SYS_pidfd_send_signal, pidfd.get(), number, &info, 0) == 0 || errno == ESRCH) return {};
  return fail_errno(errno, "send signal " + std::to_string(number));
}

Result<void> kill_process(const ProcessId& id) {
  const UniqueFd pidfd = open_process(id);
  if (!pidfd.valid()) return {};
  const std::string action = "kill process " + std::to_string(id.pid);
  TRY(signal_process(pidfd, SIGKILL).context(action));
  if (!wait_for_end(pidfd, kKillLimitMs)) return fail(Kind::kBusy, action + ": still there after 5 s");
  return {};
}

}  // namespace slicer::runner
