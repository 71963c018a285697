#include "runner/hypervisor/confined_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "lib/base/whole_file.h"
#include "runner/hypervisor/own_domain.h"

namespace slicer::runner {
namespace {

constexpr const char* kKvm = "/dev/kvm";

// What a child that cannot exec tells its parent through the pipe.
struct Failure {
  int err = 0;
  int file = -1;  ///< of the spec's; -1: none
  std::array<char, 60> step = {};
};

class Child {
 public:
  Child(const ConfinedSpec& spec, pid_t parent, int report)
      : spec_(spec), parent_(parent), report_(report), devices_(spec.devices) {}

  [[noreturn]] void run() {
    reset_signals();
    if (spec_.jail) run_jailer(*spec_.jail);
    enter_netns();
    if (spec_.kvm) open_kvm_to_user();
    if (const char* failed = show_devices(devices_, spec_.uid, spec_.gid)) give_up(failed);
    redirect();
    keep_descriptors();
    drop_privileges();
    if (const char* failed = enter_own_domain()) give_up(failed);
    check_files();
    die_with_parent();
    exec();
  }

 private:
  [[noreturn]] void run_jailer(const JailSpec& jail) {
    redirect();
    if (const char* failed = build_jail(jail)) give_up(failed);
    check_files_as_user();
    keep_descriptors();
    forbid_core();
    if (const char* failed = keep_jailer_capabilities()) give_up(failed);
    check(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0, "set the parent's death signal");  // until it changes user
    exec();
  }

  [[noreturn]] void give_up(const char* step) {
    Failure failure{.err = errno, .file = file_, .step = {}};
    (void)std::string_view(step).copy(failure.step.data(), failure.step.size() - 1);
    (void)!write(report_, &failure, sizeof failure);
    _exit(127);
  }
  void check(bool worked, const char* step) {
    if (!worked) give_up(step);
  }

  // The supervisor blocks signals and ignores SIGPIPE; both would survive the exec.
  void reset_signals() {
    sigset_t none;
    (void)sigemptyset(&none);
    check(sigprocmask(SIG_SETMASK, &none, nullptr) == 0, "unblock signals");
    check(std::signal(SIGPIPE, SIG_DFL) != SIG_ERR, "reset SIGPIPE");
    check(setsid() > 0, "start a session");
  }

  void enter_netns() {
    if (spec_.netns >= 0) {
      check(setns(spec_.netns, CLONE_NEWNET) == 0, "enter the network namespace");
    } else if (spec_.no_network) {
      check(unshare(CLONE_NEWNET) == 0, "make a network namespace");
    }
  }

  void open_kvm_to_user() {
    struct stat device{};
    check(stat(kKvm, &device) == 0, "find /dev/kvm");
    if ((device.st_mode & 0006U) == 0006U) return;
    if ((device.st_mode & 0060U) == 0060U && device.st_gid != 0) {
      groups_.push_back(device.st_gid);
      return;
    }
    devices_.push_back({.path = kKvm, .number = device.st_rdev});
  }

  void redirect() {
    const int in = open_input();
    check(in >= 0 && dup2(in, STDIN_FILENO) == STDIN_FILENO, "open its input");
    const int log = open(spec_.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    check(log >= 0 && dup2(log, STDERR_FILENO) >= 0, "open the log");
    const int out = spec_.terminal < 0 ? log : open_input();
    check(out >= 0 && dup2(out, STDOUT_FILENO) >= 0, "open its output");
    check(chdir("/") == 0, "go to /");
    (void)umask(0077);
  }

  // A terminal is opened anew each time: Firecracker makes its input non-blocking, and its output must not follow.
  [[nodiscard]] int open_input() const {
    if (spec_.terminal < 0) return open("/dev/null", O_RDWR | O_CLOEXEC);
    return open(same_file(spec_.terminal).data(), O_RDWR | O_NOCTTY | O_CLOEXEC);
  }

  // Without an allocation: this is between fork and exec.
  static std::array<char, 40> same_file(int fd) {
    std::array<char, 40> path = {};
    (void)std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", fd);
    return path;
  }

  // The jailer closes all descriptors and becomes that user by itself: what he may not open is tried before.
  void check_files_as_user() {
    check(setgroups(0, nullptr) == 0, "set groups");
    check(setegid(spec_.gid) == 0, "set group");
    check(seteuid(spec_.uid) == 0, "set user");
    check_files();
    check(seteuid(0) == 0, "set user");
    check(setegid(0) == 0, "set group");
  }

  void check_files() {
    for (size_t i = 0; i < spec_.files.size(); ++i) {
      const GivenFile& file = spec_.files[i];
      file_ = static_cast<int>(i);
      const int opened = open(same_file(file.fd).data(), (file.writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
      check(opened >= 0, "open");
      (void)close(opened);
    }
    file_ = -1;
  }

  void keep_descriptors() {
    check(close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) == 0, "close descriptors");
    for (const int fd : spec_.descriptors) check(fcntl(fd, F_SETFD, 0) == 0, "keep a descriptor");
    for (const GivenFile& file : spec_.files) check(fcntl(file.fd, F_SETFD, 0) == 0, "keep a descriptor");
  }

  void forbid_core() {
    const rlimit no_core{.rlim_cur = 0, .rlim_max = 0};  // a core would be the guest's memory
    check(setrlimit(RLIMIT_CORE, &no_core) == 0, "forbid core dumps");
  }

  void drop_privileges() {
    forbid_core();
    for (unsigned long capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0;) ++capability;
    check(setgroups(groups_.size(), groups_.data()) == 0, "set groups");
    check(setresgid(spec_.gid, spec_.gid, spec_.gid) == 0, "set group");
    check(setresuid(spec_.uid, spec_.uid, spec_.uid) == 0, "set user");
    check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "set no_new_privs");
  }

  // A change of user clears PR_SET_PDEATHSIG, so it comes last; a parent that died before is seen by getppid().
  void die_with_parent() {
    check(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0, "set the parent's death signal");
    if (getppid() != parent_) _exit(127);
  }

  [[noreturn]] void exec() {
    std::vector<char*> argv;
    for (const std::string& word : spec_.argv)
      argv.push_back(const_cast<char*>(word.c_str()));  // execve's old signature
    argv.push_back(nullptr);
    std::array<char*, 1> no_environment = {nullptr};
    (void)execve(argv[0], argv.data(), no_environment.data());
    give_up("run the program");
  }

  const ConfinedSpec& spec_;
  pid_t parent_;
  int report_;
  std::vector<gid_t> groups_ = {};
  std::vector<ShownDevice> devices_;
  int file_ = -1;  ///< that is being tried
};

Error start_error(const ConfinedSpec& spec, const Failure& failure) {
  const std::string action = "start '" + spec.argv.front() + "'";
  if (failure.file < 0) return errno_error(failure.err, action + ": " + failure.step.data());
  const GivenFile& file = spec.files[static_cast<size_t>(failure.file)];
  Error error = errno_error(failure.err, fmt::format("{}: open {} as the user slicer-vm{}", action, file.what,
                                                     file.writable ? ", to write" : ""));
  error.hint = "give that user the right (setfacl -m u:slicer-vm:rw FILE)";
  if (file.writable) error.hint += ", or the VM a disk of its own: --storage SIZE (storage: in a host group)";
  return error;
}

}  // namespace

Result<ConfinedProcess> ConfinedProcess::start(const ConfinedSpec& spec) {
  std::array<int, 2> ends = {-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno(errno, "make a pipe");
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  const std::string action = "start '" + spec.argv.front() + "'";

  std::optional<ProcessCell> cell;
  if (spec.jail) {
    ProcessCell entered = TRY(ProcessCell::enter());
    cell.emplace(std::move(entered));
  }
  const pid_t parent = getpid();
  const pid_t pid = fork();
  const int fork_errno = errno;
  if (pid == 0) Child(spec, parent, write_end.get()).run();
  if (cell) cell->leave();
  if (pid < 0) return fail_errno(fork_errno, action);
  write_end.reset();

  ConfinedProcess process(ProcessId{.pid = pid, .start_time = 0}, open_child(pid));
  if (!process.pidfd_.valid()) {
    const int err = errno;
    (void)::kill(pid, SIGKILL);  // our own child, not yet reaped
    (void)waitpid(pid, nullptr, 0);
    return fail_errno(err, action);
  }
  if (cell) process.cell_.emplace(std::move(*cell));
  Failure failure;
  if (read(read_end.get(), &failure, sizeof failure) == static_cast<ssize_t>(sizeof failure))
    return std::unexpected(start_error(spec, failure));
  process.id_ = TRY(identify_process(pid));
  return process;
}

ConfinedProcess::~ConfinedProcess() {
  if (!pidfd_.valid()) return;
  kill();
  siginfo_t info{};
  (void)waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info, WEXITED);  // its end is all that matters
}

void ConfinedProcess::kill() const {
  (void)signal_process(pidfd_, SIGKILL);  // our own child: nothing can forbid it
}

}  // namespace slicer::runner
