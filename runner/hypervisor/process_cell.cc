#include "runner/hypervisor/process_cell.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "lib/base/log.h"
#include "runner/state/process_id.h"

namespace slicer::runner {
namespace {

// glibc has no call for it.
void drop_capabilities() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, 2> none = {};
  if (syscall(SYS_capset, &header, none.data()) != 0) _exit(127);
}

// The first process of the namespace. What loses its parent there becomes its child, and is not waited for.
[[noreturn]] void keep(int parent) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) _exit(127);
  if (wait_for_end(UniqueFd(fcntl(parent, F_DUPFD_CLOEXEC, 3)), 0)) _exit(0);  // it died before that
  if (std::signal(SIGCHLD, SIG_IGN) == SIG_ERR) _exit(127);
  (void)prctl(PR_SET_NAME, "slicer-jail", 0, 0, 0);
  // Its parent's caller waits for the end of pipes.
  if (close_range(0, ~0U, 0) != 0) _exit(127);
  drop_capabilities();
  for (;;) pause();
}

}  // namespace

Result<ProcessCell> ProcessCell::enter() {
  const UniqueFd self = open_child(getpid());
  UniqueFd home(open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC));
  if (!self.valid() || !home.valid()) return fail_errno(errno, "hold the process namespace");
  if (unshare(CLONE_NEWPID) != 0) return fail_errno(errno, "make a process namespace");
  ProcessCell cell(std::move(home), {});
  const pid_t pid = fork();
  if (pid == 0) keep(self.get());
  int err = errno;
  if (pid > 0) {
    cell.keeper_ = open_child(pid);
    if (cell.keeper_.valid()) return cell;
    err = errno;
    (void)kill(pid, SIGKILL);  // our own child, not yet reaped
    (void)waitpid(pid, nullptr, 0);
  }
  return fail_errno(err, "make a process namespace");
}

void ProcessCell::leave() {
  if (!home_.valid()) return;
  if (setns(home_.get(), CLONE_NEWPID) != 0) {
    log_line("leave a process namespace: it cannot be left");
    std::abort();
  }
  home_.reset();
}

ProcessCell::~ProcessCell() {
  leave();
  if (!keeper_.valid()) return;
  (void)signal_process(keeper_, SIGKILL);  // our own child: nothing can forbid it
  siginfo_t info{};
  (void)waitid(P_PIDFD, static_cast<id_t>(keeper_.get()), &info, WEXITED);
}

}  // namespace slicer::runner
