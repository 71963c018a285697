#include "lib/net/tap_label.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>

#include "lib/base/unique_fd.h"

namespace slicer::net {
namespace {

// fs/proc/base.c, proc_pid_attr_write(): what is longer than a page is cut off.
constexpr size_t kLabelMax = 4095;
/// What the next execve() of the writing thread becomes (setexeccon(3)); fork(2) hands it on.
constexpr const char* kExecLabel = "/proc/thread-self/attr/exec";
constexpr const char* kOwnLabel = "/proc/thread-self/attr/current";
constexpr const char* kOwnProgram = "/proc/self/exe";
constexpr const char* kMode = "name-tap";
constexpr const char* kOffHint =
    "leave \"selinuxContext\" out, or boot with SELinux (security=selinux) and load a policy that has the label";
constexpr const char* kPolicyHint =
    "the policy must let the caller's domain start slicer-tap in the label's (process transition, file entrypoint), "
    "and that one use the caller's descriptors (fd use), /dev/net/tun and CAP_NET_ADMIN, and make TAPs (tun_socket "
    "create); ausearch -m avc shows what was refused";

bool is_label_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("_-.,:").find(c) != std::string_view::npos;
}

/// "user:role:type" with nothing empty; what follows is the range.
bool has_three_parts(std::string_view label) {
  for (int part = 0; part < 3; ++part) {
    const size_t end = std::min(label.find(':'), label.size());
    if (end == 0) return false;
    if (end == label.size()) return part == 2;
    label.remove_prefix(end + 1);
  }
  return !label.empty();
}

/// Where selinuxfs is not mounted (a container), the own label tells: AppArmor's ends in a newline.
bool is_selinux_on() {
  struct statfs about = {};
  if (statfs("/sys/fs/selinux", &about) == 0 && about.f_type == SELINUX_MAGIC) return true;
  const UniqueFd file(open(kOwnLabel, O_RDONLY | O_CLOEXEC));
  std::array<char, kLabelMax> text{};
  const ssize_t size = file.valid() ? read(file.get(), text.data(), text.size()) : -1;
  if (size <= 0) return false;
  return check_label_shape(std::string(text.data(), strnlen(text.data(), static_cast<size_t>(size)))).has_value();
}

/// 0 or errno. Nothing that a child between fork(2) and execve(2) could not do.
int write_exec_label(const char* label, size_t size) {
  const int file = open(kExecLabel, O_WRONLY | O_CLOEXEC);
  if (file < 0) return errno;
  const int err = write(file, label, size) < 0 ? errno : 0;
  (void)close(file);
  return err;
}

std::string use_of(const std::string& label) { return "use \"selinuxContext\" '" + label + "'"; }

Error label_error(const std::string& label, int err) {
  // No such file: a kernel without any security module, or no /proc.
  if (err == ENOENT || (err == EINVAL && !is_selinux_on()))
    return {
        .kind = Kind::kUnsupportedField, .message = use_of(label) + ": SELinux is off on this host", .hint = kOffHint};
  if (err == EINVAL)
    return {.kind = Kind::kInvalidConfig,
            .message = use_of(label) + ": the policy of this host does not know that label",
            .hint = "seinfo -u, -r and -t list what it knows; or leave the key out"};
  Error error = errno_error(err, use_of(label) + ": set it for a process");
  if (err == EACCES) error.hint = "the policy must let the caller's domain choose it (process setexec)";
  return error;
}

/// What the child says before it is another program.
struct Refusal {
  bool label = false;  ///< the label was refused, not the start
  int err = 0;
};

struct Start {
  const char* label = nullptr;
  size_t label_size = 0;
  int tun = -1;
  int report = -1;
  pid_t parent = 0;
  char* const* argv = nullptr;
};

[[noreturn]] void run_child(const Start& start) {
  Refusal refusal;
  refusal.err = write_exec_label(start.label, start.label_size);
  refusal.label = refusal.err != 0;
  if (!refusal.label) {
    // What it might print is no part of the result.
    std::array<char*, 1> no_environment{nullptr};
    errno = 0;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == start.parent && dup2(start.tun, STDIN_FILENO) >= 0 &&
        dup2(STDERR_FILENO, STDOUT_FILENO) >= 0)
      (void)execve(kOwnProgram, start.argv, no_environment.data());
    refusal.err = errno != 0 ? errno : ECHILD;
  }
  (void)!write(start.report, &refusal, sizeof refusal);
  _exit(127);
}

/// What the child said; none: it became the other program.
std::optional<Refusal> read_refusal(int from) {
  Refusal refusal;
  ssize_t size = 0;
  do size = read(from, &refusal, sizeof refusal);
  while (size < 0 && errno == EINTR);
  if (size != static_cast<ssize_t>(sizeof refusal)) return std::nullopt;
  return refusal;
}

int wait_for(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

std::unexpected<Error> refused(const std::string& label, const std::string& cause, int err = 0) {
  return std::unexpected(
      Error{.kind = Kind::kSystem, .message = use_of(label) + ": " + cause, .hint = kPolicyHint, .sys_errno = err});
}

/// TUNSETIFF's errno out of what became of the process.
Result<int> judge(const std::string& label, int status) {
  // By the kernel, where its own program is closed to it (fd use, file map); 127 is ld.so's where a library is.
  if (!WIFEXITED(status))
    return refused(label, "a process of it cannot be loaded: signal " + std::to_string(WTERMSIG(status)));
  if (WEXITSTATUS(status) == 127) return refused(label, "a process of it cannot be loaded");
  const int err = WEXITSTATUS(status);
  // What the label may not use was replaced by a null device, or closed (hooks.c, flush_unauthorized_files()).
  if (err == ENOTTY || err == EBADF) return refused(label, "a process of it may not use /dev/net/tun", err);
  if (err == EACCES || err == EPERM)
    return refused(label, "a process of it may not make a TAP: " + errno_text(err), err);
  return err;
}

}  // namespace

Result<void> check_label_shape(const std::string& label) {
  if (label.size() > kLabelMax)
    return fail(Kind::kInvalidConfig,
                std::to_string(label.size()) + " bytes are no label: it has " + std::to_string(kLabelMax) + " at most");
  if (std::ranges::all_of(label, is_label_character) && has_three_parts(label)) return {};
  return fail(Kind::kInvalidConfig, "'" + label + "' is no label: it reads user:role:type or user:role:type:range");
}

Result<void> check_label(const std::string& label) {
  if (const int err = write_exec_label(label.data(), label.size()); err != 0)
    return std::unexpected(label_error(label, err));
  // An empty one, that is: as if none had been set.
  if (const int err = write_exec_label("\n", 1); err != 0) return fail_errno(err, use_of(label) + ": forget it");
  return {};
}

Result<int> name_tap_as(const std::string& label, int tun, const std::string& name, int flags) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno(errno, "make a pipe");
  const UniqueFd here(ends[0]);
  UniqueFd there(ends[1]);
  std::array<std::string, 4> words{"slicer-tap", kMode, name, std::to_string(flags)};
  std::array<char*, 5> argv{words[0].data(), words[1].data(), words[2].data(), words[3].data(), nullptr};
  const Start start{.label = label.data(),
                    .label_size = label.size(),
                    .tun = tun,
                    .report = there.get(),
                    .parent = getpid(),
                    .argv = argv.data()};
  const pid_t child = fork();
  if (child < 0) return fail_errno(errno, use_of(label) + ": start a process of it");
  if (child == 0) run_child(start);
  there.reset();
  const std::optional<Refusal> refusal = read_refusal(here.get());
  const int status = wait_for(child);
  if (!refusal) return judge(label, status);
  if (refusal->label) return std::unexpected(label_error(label, refusal->err));
  return refused(label, "start a process of it: " + errno_text(refusal->err), refusal->err);
}

std::optional<int> name_tap_main(int argc, char** argv) {
  if (argc != 4 || std::string_view(argv[1]) != kMode) return std::nullopt;
  const std::string_view name = argv[2];
  const std::string_view number = argv[3];
  ifreq request = {};
  int flags = 0;
  if (name.empty() || name.size() >= sizeof request.ifr_name ||
      std::from_chars(number.begin(), number.end(), flags).ec != std::errc())
    return EINVAL;
  std::memcpy(request.ifr_name, name.data(), name.size());
  request.ifr_flags = static_cast<short>(flags);
  return ioctl(STDIN_FILENO, TUNSETIFF, &request) == 0 ? 0 : errno;
}

}  // namespace slicer::net
