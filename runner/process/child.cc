#include "runner/process/child.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

namespace slicer::runner {
namespace {

constexpr int kNotStarted = 127;  // a shell's code for it

void restore_signals() {
  sigset_t none;
  sigemptyset(&none);
  (void)signal(SIGPIPE, SIG_DFL);
  (void)signal(SIGCHLD, SIG_DFL);
  (void)sigprocmask(SIG_SETMASK, &none, nullptr);
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> list;
  for (std::string& word : words) list.push_back(word.data());
  list.push_back(nullptr);
  return list;
}

// All are above 2: they were opened while 0-2 were open.
bool place(int fd, int as) { return fd < 0 || dup2(fd, as) >= 0; }

[[noreturn]] void run(const ChildSpec& spec, char* const* argv, pid_t parent) {
  restore_signals();
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent && place(spec.in, STDIN_FILENO) &&
      place(spec.out, STDOUT_FILENO) && place(spec.err, STDERR_FILENO))
    (void)execv(argv[0], argv);
  _exit(kNotStarted);
}

}  // namespace

Result<Child> Child::start(const ChildSpec& spec) {
  std::vector<std::string> words = spec.argv;
  const std::vector<char*> argv = pointers(words);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return fail_errno(errno, "start '" + spec.argv.front() + "'");
  if (pid == 0) run(spec, argv.data(), parent);
  // Its own number yet, or, where SIGCHLD is ignored, that of nobody. By syscall(2): glibc 2.36's <sys/pidfd.h> lacks
  // extern "C".
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  const bool ended = !pidfd.valid() && errno == ESRCH;
  return Child(ended ? -1 : pid, std::move(pidfd));
}

Child::Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)) {}

Child& Child::operator=(Child&& other) noexcept {
  if (this == &other) return *this;
  end();
  pid_ = std::exchange(other.pid_, -1);
  pidfd_ = std::move(other.pidfd_);
  return *this;
}

Child::~Child() { end(); }

void Child::end() {
  if (pid_ < 0) return;
  signal(SIGKILL);
  (void)wait();
}

void Child::signal(int number) const {
  if (pid_ < 0) return;
  // Where SIGCHLD is ignored an ended child is reaped by itself, and its number may be a stranger's.
  if (pidfd_.valid())
    (void)syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0U);
  else
    (void)kill(pid_, number);
}

int Child::wait() {
  siginfo_t ended{};
  const idtype_t kind = pidfd_.valid() ? P_PIDFD : P_PID;
  const id_t which = static_cast<id_t>(pidfd_.valid() ? pidfd_.get() : pid_);
  while (waitid(kind, which, &ended, WEXITED) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return ended.si_code == CLD_EXITED || ended.si_code == 0 ? ended.si_status : 128 + ended.si_status;
}

Result<Pipe> make_pipe() {
  std::array<int, 2> ends = {-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno(errno, "make a pipe");
  return Pipe{.read_end = UniqueFd(ends[0]), .write_end = UniqueFd(ends[1])};
}

Result<void> become(const std::vector<std::string>& argv) {
  std::vector<std::string> words = argv;
  const std::vector<char*> list = pointers(words);
  restore_signals();
  (void)execv(list[0], list.data());
  return fail_errno(errno, "start '" + argv.front() + "'");
}

}  // namespace slicer::runner
