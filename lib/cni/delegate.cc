#include "lib/cni/delegate.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "lib/base/unique_fd.h"
#include "lib/cni/error.h"
#include "lib/cni/result_versions.h"

extern char** environ;

namespace slicer::cni {
namespace {

constexpr size_t kOutputLimit = size_t{1} << 20;

// A started child, killed and reaped when its owner returns early.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid), pidfd_(pidfd_open(pid, 0)) {}
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

std::vector<std::string> delegate_environment(const Request& request, const DelegateCall& call) {
  std::vector<std::string> list;
  for (char** entry = environ; *entry != nullptr; ++entry)
    if (std::strncmp(*entry, "CNI_", 4) != 0) list.emplace_back(*entry);
  const auto add = [&list](const char* name, const std::string& value) {
    if (!value.empty()) list.push_back(std::string(name) + "=" + value);
  };
  const auto join = [](std::string& text, const std::string& part, char separator) {
    if (!text.empty()) text += separator;
    text += part;
  };
  std::string args;
  for (const auto& [key, value] : request.env.args) join(args, key + "=" + value, ';');
  std::string path;
  for (const std::string& folder : request.env.path) join(path, folder, ':');
  add("CNI_COMMAND", command_name(call.command));
  add("CNI_CONTAINERID", request.env.container_id);
  add("CNI_NETNS", request.env.netns);
  add("CNI_IFNAME", request.env.ifname);
  add("CNI_ARGS", args);
  add("CNI_PATH", path);
  add("CNI_NETNS_OVERRIDE", call.netns_override || request.env.netns_override ? "1" : "");
  return list;
}

// File actions and attributes, freed on every return.
struct SpawnSetup {
  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
  SpawnSetup(int in, int out) {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    // An ignored SIGPIPE and a blocked signal would be inherited.
    sigset_t none;
    sigset_t pipe;
    sigemptyset(&none);
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &pipe);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;
  ~SpawnSetup() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
};

Result<pid_t> spawn(const std::string& file, std::vector<std::string> environment, int in, int out) {
  std::vector<char*> envp;
  for (std::string& entry : environment) envp.push_back(entry.data());
  envp.push_back(nullptr);
  std::string name = file;
  std::array<char*, 2> argv{name.data(), nullptr};
  const SpawnSetup setup(in, out);
  pid_t pid = -1;
  const int err = posix_spawn(&pid, file.c_str(), &setup.actions, &setup.attributes, argv.data(), envp.data());
  if (err != 0) return fail_errno(err, "start '" + file + "'");
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

// Until the output ends, or the child has ended and the output is drained: a grandchild that kept the pipe open is not
// waited for.
Result<std::string> collect_output(int out, int pidfd) {
  std::string output;
  std::array<pollfd, 2> watched{
      {{.fd = out, .events = POLLIN, .revents = 0}, {.fd = pidfd, .events = POLLIN, .revents = 0}}};
  for (;;) {
    if (poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) return fail_errno(errno, "wait for its output");
    const bool ended = watched[1].revents != 0;
    if (watched[0].revents != 0 || ended) {
      while (TRY(read_some(out, output))) {
      }
    }
    if (ended || (watched[0].revents & POLLHUP) != 0) return output;
  }
}

struct Finished {
  std::string output = {};
  int status = 0;
};

Result<Finished> run_to_end(const std::string& file, const Request& request, const DelegateCall& call) {
  const UniqueFd config = TRY(config_file(dump_json(request.conf.raw)));
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno(errno, "make a pipe");
  UniqueFd out(ends[0]);
  UniqueFd in = TRY(above_standard(UniqueFd(ends[1])));
  if (fcntl(out.get(), F_SETFL, O_NONBLOCK) != 0) return fail_errno(errno, "set up a pipe");
  Child child(TRY(spawn(file, delegate_environment(request, call), config.get(), in.get())));
  in.reset();
  if (child.pidfd() < 0) return fail_errno(errno, "watch '" + file + "'");
  std::string output = TRY(collect_output(out.get(), child.pidfd()));
  return Finished{.output = std::move(output), .status = child.wait()};
}

}  // namespace

Result<std::string> find_plugin(const std::string& type, const std::vector<std::string>& path) {
  if (type.empty() || type == "." || type == ".." || type.find('/') != std::string::npos)
    return fail(Kind::kInvalidConfig, "find plugin '" + type + "': not a plugin's file name");
  std::string searched;
  for (const std::string& folder : path) {
    std::string file = folder + "/" + type;
    struct stat there{};
    if (stat(file.c_str(), &there) == 0 && S_ISREG(there.st_mode) && access(file.c_str(), X_OK) == 0) return file;
    searched += (searched.empty() ? "" : ":") + folder;
  }
  return fail(Kind::kNotFound, "find plugin '" + type + "' in '" + searched + "': no such executable file",
              "install it there, or name its folder in CNI_PATH");
}

Result<std::string> call_delegate(const Request& request, const DelegateCall& call) {
  const std::string file = TRY(find_plugin(call.type, request.env.path));
  Finished finished = TRY(run_to_end(file, request, call).context("run '" + call.type + "'"));
  if (WIFSIGNALED(finished.status)) {
    const char* name = sigabbrev_np(WTERMSIG(finished.status));
    return fail(Kind::kDelegate, "run '" + call.type + "': ended by signal " +
                                     std::to_string(WTERMSIG(finished.status)) + " (SIG" +
                                     (name == nullptr ? "?" : name) + ")");
  }
  if (WEXITSTATUS(finished.status) != 0) return std::unexpected(error_from_json(finished.output, call.type));
  return std::move(finished.output);
}

Result<CniResult> delegate_add(const Request& request, const std::string& type) {
  const std::string output = TRY(call_delegate(request, {.type = type, .command = Command::kAdd}));
  const Json json = TRY(parse_json(output).context("read result of '" + type + "'"));
  return parse_result(json, request.conf.cni_version).context("read result of '" + type + "'");
}

}  // namespace slicer::cni
