#include "runner/sos/console_sshd.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <string_view>

#include "lib/base/whole_file.h"
#include "runner/process/child.h"
#include "runner/process/program_path.h"
#include "runner/sos/accounts.h"
#include "runner/state/vm_files.h"

namespace slicer::runner {
namespace {

constexpr const char* kNoSshd = "apt install openssh-server";
constexpr const char* kPasswd = "/etc/passwd";
constexpr size_t kMaxConfig = size_t{1} << 20;

// Files alone: what a directory service says of a name is not asked for.
constexpr const char* kNameService = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n";

constexpr const char* kPrivsepFolder = "/run/sshd";  // where OpenSSH's unprivileged half is locked in: always empty

Result<void> hide_behind(const std::string& text, const std::string& path) {
  const std::string file = std::string(kPrivsepFolder) + "/shown";
  TRY(write_whole_file(file, text, {.mode = 0644}));
  const bool done = mount(file.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) == 0;
  const int err = errno;
  (void)unlink(file.c_str());  // the mount keeps it
  if (!done) return fail_errno(err, "show own accounts at '" + path + "'");
  return {};
}

// Seen by this process and its children alone; all of it goes with them. A slave, so what the host unmounts is
// unmounted here, too, however long a console is open.
Result<void> show_accounts(const Settings& settings) {
  const std::string accounts = TRY(accounts_text(TRY(list_vm_names(settings)), TRY(read_file(kPasswd, 16U << 20U))));
  TRY(ensure_directory(kPrivsepFolder));
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0)
    return fail_errno(errno, "make a mount namespace");
  // A file system of this process's own: whenever it is killed, no file of it stays.
  if (mount("none", kPrivsepFolder, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755") != 0)
    return fail_errno(errno, "make a file system for the accounts");
  TRY(hide_behind(accounts, kPasswd));
  if (access("/etc/nsswitch.conf", F_OK) == 0) TRY(hide_behind(kNameService, "/etc/nsswitch.conf"));
  // nscd would answer from the host's accounts.
  if (access("/run/nscd", F_OK) == 0 && mount("none", "/run/nscd", "tmpfs", 0, "mode=755") != 0)
    return fail_errno(errno, "hide '/run/nscd'");
  return {};
}

// In a Match block or a file of its own, ForceCommand is stronger than on the command line.
bool is_stronger(std::string_view line) {
  constexpr std::array kWords = {"match", "include"};
  line.remove_prefix(std::min(line.find_first_not_of(" \t\r\f\v\"="), line.size()));  // as sshd does, and more
  std::string word;
  for (const char c : line) {
    if (std::isalpha(static_cast<unsigned char>(c)) == 0) break;
    word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return std::ranges::find(kWords, word) != kWords.end();
}

}  // namespace

Result<void> check_sshd_config(const std::string& text) {
  size_t number = 1;
  for (size_t at = 0; at < text.size(); ++number) {
    const size_t end = std::min(text.find('\n', at), text.size());
    if (is_stronger(std::string_view(text).substr(at, end - at)))
      return fail(Kind::kInvalidConfig,
                  "line " + std::to_string(number) + ": 'Match' and 'Include' are not allowed here",
                  "what stands there could give a shell in place of the console: take it out");
    at = end + 1;
  }
  return {};
}

Result<void> become_console_sshd(const Settings& settings, const std::string& config) {
  struct stat info{};
  if (fstat(STDIN_FILENO, &info) != 0 || !S_ISSOCK(info.st_mode))
    return fail(Kind::kInvalidEnvironment, "serve a connection: stdin is no socket",
                "start it by slicer-sos.socket, or by another program that hands connections over as inetd did");
  TRY(check_sshd_config(TRY(read_file(config, kMaxConfig))).context("read '" + config + "'"));
  const std::string sshd = TRY(find_program("sshd", kNoSshd));
  const std::string forced = "ForceCommand='" + TRY(own_program()) + "' sos";
  TRY(show_accounts(settings));
  return become({sshd, "-i", "-f", config, "-o", forced, "-o", "DisableForwarding=yes", "-o", "PermitUserRC=no", "-o",
                 "PermitUserEnvironment=no", "-o", "UsePAM=no", "-o", "PermitRootLogin=prohibit-password"});
}

}  // namespace slicer::runner
