#include <unistd.h>

#include <CLI/App.hpp>
#include <memory>

#include "lib/base/log.h"
#include "runner/commands/vm.h"
#include "runner/forward/guest_dial.h"
#include "runner/ssh/ssh_command.h"
#include "runner/state/vm_files.h"
#include "runner/supervisor/system_user.h"

namespace slicer::runner {
namespace {

struct Options {
  std::string name = {};
  SshWish ssh = {.wait_s = 60};
};

constexpr const char* kExecExamples =
    "Examples:\n"
    "  slicer-run vm exec demo-1 -- uname -a\n"
    "  slicer-run vm exec demo-1 -- sh -c 'cd /tmp && ls | wc -l'\n"
    "  slicer-run vm exec demo-1 --tty -- top\n"
    "  tar -c folder | slicer-run vm exec demo-1 -- tar -x -C /srv\n"
    "The exit code is the command's; 255 when it could not be run, and a message says why.";

Result<int> run(const Context& context, const Options& options) {
  TRY(check_vm_name(options.name));
  TRY(check_root());
  (void)TRY(load_running(context, options.name, "run a command in"));
  return run_ssh(context, options.name, options.ssh);
}

// No exit code but 255 is ours: every other may be the command's.
int run_as_ssh(const Context& context, const Options& options) {
  const Result<int> code = run(context, options);
  if (code) return *code;
  log_line(code.error().message);
  if (!code.error().hint.empty()) log_line("hint: " + code.error().hint);
  return kSshFailed;
}

void add_common(CLI::App& command, Options& options) {
  command.add_option("NAME", options.name, "The VM")->required();
  command.add_option("--user,-u", options.ssh.user, "The guest's user")->capture_default_str();
  command.add_option("--wait", options.ssh.wait_s, "Seconds to wait for a guest that does not answer yet")
      ->capture_default_str();
}

}  // namespace

void register_vm_exec(CLI::App& vm, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App& command = *vm.add_subcommand("exec", "Run a command in a VM's guest");
  add_common(command, *options);
  command.add_flag("--tty,-t", options->ssh.terminal, "On a terminal of its own");
  command.add_option("COMMAND", options->ssh.command, "Behind --: the command and its arguments, each as it stands");
  command.footer(kExecExamples);
  command.callback([&context, options] {
    for (const std::string& word : context.command_words) options->ssh.command.push_back(word);
    if (options->ssh.command.empty()) throw CLI::RequiredError("-- COMMAND");
    context.action = [&context, options]() -> Result<int> { return run_as_ssh(context, *options); };
  });
}

void register_vm_shell(CLI::App& vm, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App& command = *vm.add_subcommand("shell", "A shell in a VM's guest");
  add_common(command, *options);
  command.footer(
      "Examples:\n  slicer-run vm shell demo-1\nThe exit code is the shell's; 255 when there could be none.");
  command.callback([&context, options] {
    options->ssh.terminal = isatty(STDIN_FILENO) == 1;  // a pipe's end ends the shell, as a terminal's would not
    context.action = [&context, options]() -> Result<int> { return run_as_ssh(context, *options); };
  });
}

}  // namespace slicer::runner
