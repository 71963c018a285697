#include "runner/ssh/ssh_command.h"

#include <fmt/format.h>
#include <poll.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "runner/process/child.h"
#include "runner/process/program_path.h"
#include "runner/ssh/runner_key.h"
#include "runner/ssh/ssh_log.h"
#include "runner/state/vm_definition.h"
#include "runner/state/vm_files.h"
#include "runner/supervisor/signals.h"

namespace slicer::runner {
namespace {

constexpr const char* kNoSsh = "install the OpenSSH client: apt install openssh-client";

std::string quoted(const std::string& word) {
  std::string text = "'";
  for (const char c : word) {
    if (c == '\'')
      text += "'\\''";
    else
      text += c;
  }
  return text + "'";
}

// In a ProxyCommand a percent sign begins a token (ssh_config(5)).
std::string proxy_command(const std::string& program, const std::string& vm, unsigned wait_s) {
  std::string text;
  for (const char c : quoted(program)) text.append(c == '%' ? 2 : 1, c);
  return fmt::format("ProxyCommand={} vm port-forward {} --stdio 22 --direct --wait {}", text, vm, wait_s);
}

void add_options(std::vector<std::string>& argv, std::initializer_list<std::string> options) {
  for (const std::string& option : options) argv.insert(argv.end(), {"-o", option});
}

}  // namespace

std::string shell_line(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) line += (line.empty() ? "" : " ") + quoted(word);
  return line;
}

std::string known_hosts_file(const Settings& settings, const std::string& vm) {
  const KeptFiles kept = kept_files(settings, vm);
  const Result<std::optional<VmDefinition>> definition = find_definition(settings, vm);
  if (definition && *definition && (*definition)->kept_disk) return kept.known_hosts;
  return vm_files(settings, vm).folder + "/known_hosts";
}

Result<std::vector<std::string>> ssh_argv(const Settings& settings, const std::string& vm, const SshWish& wish) {
  std::vector<std::string> argv = {TRY(find_program("ssh", kNoSsh)), "-F", "none"};
  const RunnerKey key =
      TRY(load_runner_key(settings).hint("slicer-run vm new makes it; VMs from before do not have it"));
  argv.insert(argv.end(), {"-i", key.file, "-l", wish.user, wish.terminal ? "-tt" : "-T"});
  add_options(argv, {"IdentitiesOnly=yes", "IdentityAgent=none", "BatchMode=yes", "PreferredAuthentications=publickey",
                     "ForwardAgent=no", "ForwardX11=no", "UpdateHostKeys=no", "LogLevel=ERROR"});
  add_options(argv, {"GlobalKnownHostsFile=none", "UserKnownHostsFile=" + known_hosts_file(settings, vm),
                     "StrictHostKeyChecking=accept-new", "HashKnownHosts=no", "HostKeyAlias=" + vm, "CheckHostIP=no"});
  add_options(argv, {proxy_command(TRY(own_program()), vm, wish.wait_s), "ProxyUseFdpass=no"});
  argv.insert(argv.end(), wish.more.begin(), wish.more.end());
  argv.insert(argv.end(), {"--", vm});
  if (!wish.command.empty()) argv.push_back(shell_line(wish.command));
  return argv;
}

Result<int> run_ssh(const Settings& settings, const std::string& vm, const SshWish& wish) {
  const SshLog log = TRY(SshLog::make());
  SshWish logged = wish;
  logged.more.insert(logged.more.end(), {"-E", log.path()});
  // By it SshLog knows of a command that a signal ended; since OpenSSH 8.5.
  add_options(logged.more, {"IgnoreUnknown=LogVerbose", "LogVerbose=clientloop.c:client_input_channel_req():*"});
  ChildSpec spec;
  spec.argv = TRY(ssh_argv(settings, vm, logged));
  const Signals signals = TRY(Signals::block());
  Child ssh = TRY(Child::start(spec));
  for (;;) {
    std::array<pollfd, 2> polled = {pollfd{.fd = ssh.pidfd(), .events = POLLIN, .revents = 0},
                                    pollfd{.fd = signals.fd(), .events = POLLIN, .revents = 0}};
    if (poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) return fail_errno(errno, "wait for ssh");
    if (const int number = signals.take(); number != 0) ssh.signal(number);
    if (polled[0].revents != 0) break;
  }
  const int code = ssh.wait();
  if (code == kSshFailed) log.tell(vm, known_hosts_file(settings, vm), public_key_file(settings));
  return code;
}

}  // namespace slicer::runner
