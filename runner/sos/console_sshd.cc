#include "runner/sos/console_sshd.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "lib/base/whole_file.h"
#include "runner/process/child.h"
#include "runner/process/program_path.h"
#include "runner/sos/accounts.h"
#include "runner/state/vm_files.h"

namespace slicer::runner {
namespace {

constexpr const char* kNoSshd = "apt install openssh-server";
constexpr const char* kPasswd = "/etc/passwd";

// Files alone: what a directory service says of a name is not asked for.
constexpr const char* kNameService = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n";

Result<void> hide_behind(const std::string& text, const std::string& path, const std::string& folder) {
  const std::string file = folder + "/.sos-" + std::to_string(getpid());
  TRY(write_whole_file(file, text, {.mode = 0644}));
  const bool done = mount(file.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) == 0;
  const int err = errno;
  (void)unlink(file.c_str());  // the mount keeps it
  if (!done) return fail_errno(err, "show own accounts at '" + path + "'");
  return {};
}

// Seen by this process and its children alone; all of it goes with them.
Result<void> show_accounts(const Settings& settings) {
  const std::string accounts = TRY(accounts_text(TRY(list_vm_names(settings)), TRY(read_file(kPasswd, 16U << 20U))));
  TRY(ensure_directory(settings.state_dir, 0700));
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return fail_errno(errno, "make a mount namespace");
  TRY(hide_behind(accounts, kPasswd, settings.state_dir));
  if (access("/etc/nsswitch.conf", F_OK) == 0) TRY(hide_behind(kNameService, "/etc/nsswitch.conf", settings.state_dir));
  // nscd would answer from the host's accounts.
  if (access("/run/nscd", F_OK) == 0 && mount("none", "/run/nscd", "tmpfs", 0, "mode=755") != 0)
    return fail_errno(errno, "hide '/run/nscd'");
  return {};
}

Result<std::string> forced_command() {
  std::array<char, PATH_MAX> path = {};
  if (readlink("/proc/self/exe", path.data(), path.size() - 1) < 0) return fail_errno(errno, "find this program");
  return "ForceCommand='" + std::string(path.data()) + "' sos";
}

}  // namespace

Result<void> become_console_sshd(const Settings& settings, const std::string& config) {
  struct stat info{};
  if (fstat(STDIN_FILENO, &info) != 0 || !S_ISSOCK(info.st_mode))
    return fail(Kind::kInvalidEnvironment, "serve a connection: stdin is no socket",
                "start it by slicer-sos.socket, or by another program that hands connections over as inetd did");
  const std::string sshd = TRY(find_program("sshd", kNoSshd));
  if (access(config.c_str(), R_OK) != 0) return fail_errno(errno, "open '" + config + "'");
  const std::string forced = TRY(forced_command());
  TRY(show_accounts(settings));
  TRY(ensure_directory("/run/sshd"));  // where OpenSSH's unprivileged half is locked in
  return become({sshd, "-i", "-f", config, "-o", forced, "-o", "DisableForwarding=yes", "-o", "PermitUserRC=no", "-o",
                 "PermitUserEnvironment=no", "-o", "UsePAM=no", "-o", "PermitRootLogin=prohibit-password"});
}

}  // namespace slicer::runner
