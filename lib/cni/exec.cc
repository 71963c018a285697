#include "lib/cni/exec.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>

#include "lib/base/unique_fd.h"
#include "lib/cni/error.h"

namespace slicer::cni {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kOutputLimit = size_t{1} << 20;
constexpr int kBusyAttempts = 50;
constexpr long kBusyPauseNs = 100'000'000;

// A started child, killed and reaped when its owner returns early.
class Child {
 public:
  // By syscall(2): glibc 2.36's <sys/pidfd.h> lacks extern "C".
  explicit Child(pid_t pid) : pid_(pid), pidfd_(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ < 0) return;
    (void)kill(pid_, SIGKILL);  // its own child, not reaped yet: the number is still its own
    (void)wait();
  }
  [[nodiscard]] int pidfd() const { return pidfd_.get(); }
  // The wait status.
  int wait() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_;
  UniqueFd pidfd_;
};

// Moves a descriptor out of the way of the child's 0-2, which are free when the caller closed its own.
Result<UniqueFd> above_standard(UniqueFd fd) {
  if (fd.get() > STDERR_FILENO) return fd;
  UniqueFd moved(fcntl(fd.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  if (!moved.valid()) return fail_errno(errno, "duplicate a descriptor");
  return moved;
}

// The configuration as a file in memory: whatever the delegate reads when, nobody waits for anybody.
Result<UniqueFd> config_file(const std::string& text) {
  UniqueFd file(memfd_create("cni-config", MFD_CLOEXEC));
  if (!file.valid()) return fail_errno(errno, "make a file in memory");
  for (std::string_view rest = text; !rest.empty();) {
    const ssize_t count = write(file.get(), rest.data(), rest.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(errno, "write a file in memory");
    rest.remove_prefix(static_cast<size_t>(count));
  }
  if (lseek(file.get(), 0, SEEK_SET) != 0) return fail_errno(errno, "rewind a file in memory");
  return above_standard(std::move(file));
}

// What a child needs between vfork(2) and exec, and its errno when it fails there: the memory is shared.
struct Start {
  const char* file = nullptr;
  char** argv = nullptr;
  char** envp = nullptr;
  int in = -1;
  int out = -1;
  pid_t parent = -1;
  int err = 0;
};

[[noreturn]] void run_child(Start& start) {
  // Ignored and blocked signals would be inherited.
  sigset_t none;
  sigemptyset(&none);
  (void)signal(SIGPIPE, SIG_DFL);
  (void)signal(SIGXFSZ, SIG_DFL);
  (void)sigprocmask(SIG_SETMASK, &none, nullptr);
  // A caller that is killed takes its plugin along: it would go on beside the DEL that somebody else runs then.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == start.parent && dup2(start.in, STDIN_FILENO) >= 0 &&
      dup2(start.out, STDOUT_FILENO) >= 0)
    (void)execve(start.file, start.argv, start.envp);
  start.err = errno != 0 ? errno : ECHILD;
  _exit(127);
}

// posix_spawn(3) with the parent's death signal, which it has no attribute for. 0 or errno.
[[gnu::noinline]] int start_child(Start& start, pid_t& pid) {
  errno = 0;
  start.err = 0;
  pid = vfork();  // NOLINT(bugprone-unsafe-functions,clang-analyzer-security.insecureAPI.vfork): a caller with 100 MB
                  // would pay for fork(2)
  if (pid == 0) run_child(start);
  if (pid < 0) return errno;
  if (start.err != 0) (void)waitpid(pid, nullptr, 0);
  return start.err;
}

Result<pid_t> spawn(const Program& program, int in, int out) {
  std::vector<std::string> environment = program.environment;
  std::vector<char*> envp;
  for (std::string& entry : environment) envp.push_back(entry.data());
  envp.push_back(nullptr);
  std::string name = program.file;
  std::array<char*, 2> argv{name.data(), nullptr};
  Start start{
      .file = program.file.c_str(), .argv = argv.data(), .envp = envp.data(), .in = in, .out = out, .parent = getpid()};
  pid_t pid = -1;
  int err = 0;
  for (int attempt = 0; attempt < kBusyAttempts; ++attempt) {
    err = start_child(start, pid);
    if (err != ETXTBSY) break;
    const timespec pause{.tv_sec = 0, .tv_nsec = kBusyPauseNs};
    (void)nanosleep(&pause, nullptr);
  }
  if (err != 0) return fail_errno(err, "start '" + program.file + "'");
  return pid;
}

// Reads one portion. False at the end, or when nothing is there just now.
Result<bool> read_some(int fd, std::string& output) {
  std::array<char, 16384> chunk{};
  const ssize_t count = read(fd, chunk.data(), chunk.size());
  if (count < 0 && errno == EINTR) return true;
  if (count < 0 && errno == EAGAIN) return false;
  if (count < 0) return fail_errno(errno, "read its output");
  output.append(chunk.data(), static_cast<size_t>(count));
  if (output.size() > kOutputLimit)
    return fail(Kind::kDelegate, "printed more than " + std::to_string(kOutputLimit) + " bytes");
  return count > 0;
}

// The time left for poll(2), rounded up: -1 without a limit.
int poll_timeout(std::chrono::milliseconds limit, Clock::time_point start) {
  if (limit == Program::kUnlimited) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(start + limit - Clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, INT_MAX));
}

// Until the child has ended and its output is drained: a grandchild that kept the pipe open is not waited for.
Result<std::string> collect_output(int out, int pidfd, std::chrono::milliseconds limit) {
  const auto start = Clock::now();
  std::string output;
  std::array<pollfd, 2> watched{
      {{.fd = out, .events = POLLIN, .revents = 0}, {.fd = pidfd, .events = POLLIN, .revents = 0}}};
  for (;;) {
    const int ready = poll(watched.data(), watched.size(), poll_timeout(limit, start));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return fail_errno(errno, "wait for its output");
    if (ready == 0)
      return fail(Kind::kBusy, "did not end within " + std::to_string(limit.count()) + " ms and was killed");
    if (watched[0].revents != 0 || watched[1].revents != 0) {
      while (TRY(read_some(out, output))) {
      }
    }
    if ((watched[0].revents & POLLHUP) != 0) watched[0].fd = -1;  // closed early: only its end is awaited now
    if (watched[1].revents != 0) return output;
  }
}

}  // namespace

int Finished::exit_code() const { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

Result<Finished> run_program(const Program& program) {
  const UniqueFd config = TRY(config_file(program.input));
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno(errno, "make a pipe");
  UniqueFd out(ends[0]);
  UniqueFd in = TRY(above_standard(UniqueFd(ends[1])));
  if (fcntl(out.get(), F_SETFL, O_NONBLOCK) != 0) return fail_errno(errno, "set up a pipe");
  Child child(TRY(spawn(program, config.get(), in.get())));
  in.reset();
  if (child.pidfd() < 0) return fail_errno(errno, "watch '" + program.file + "'");
  std::string output = TRY(collect_output(out.get(), child.pidfd(), program.limit));
  return Finished{.output = std::move(output), .status = child.wait()};
}

Result<std::string> checked_output(Finished finished, const std::string& plugin) {
  if (WIFSIGNALED(finished.status)) {
    const char* name = sigabbrev_np(WTERMSIG(finished.status));
    return fail(Kind::kDelegate, "run '" + plugin + "': ended by signal " + std::to_string(WTERMSIG(finished.status)) +
                                     " (SIG" + (name == nullptr ? "?" : name) + ")");
  }
  if (WEXITSTATUS(finished.status) != 0) return std::unexpected(error_from_json(finished.output, plugin));
  return std::move(finished.output);
}

}  // namespace slicer::cni
