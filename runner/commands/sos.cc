#include "runner/commands/sos.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/App.hpp>
#include <cstdlib>
#include <memory>

#include "lib/base/log.h"
#include "runner/forward/guest_dial.h"
#include "runner/sos/accounts.h"
#include "runner/sos/console_sshd.h"
#include "runner/state/vm_files.h"
#include "runner/supervisor/console.h"
#include "runner/supervisor/system_user.h"

namespace slicer::runner {
namespace {

struct Options {
  bool inetd = false;
  std::string config = "/etc/slicer/sos/sshd_config";
};

constexpr const char* kHelp =
    "As a ForceCommand it attaches to the console of the VM that the SSH account is named after; of the account "
    "\"sos\",\n"
    "to that of the VM that the client's command names. --inetd serves the SSH connection on stdin by the system's "
    "sshd,\n"
    "with an account for each VM: slicer-sos.socket starts it so, and then, elsewhere: ssh -p 2222 demo-1@HOST\n"
    "Examples:\n"
    "  slicer-run sos --inetd";

std::string variable(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody sets it
  return value != nullptr ? value : "";
}

Result<int> attach(const Context& context) {
  const std::string account = variable("LOGNAME");
  if (account.empty() || variable("SSH_CONNECTION").empty())
    return fail(Kind::kInvalidEnvironment, "attach to a console: this is no SSH session",
                "it is an sshd's ForceCommand; here: slicer-run vm console NAME");
  TRY(check_root());
  const std::string vm = TRY(vm_of_session(account, variable("SSH_ORIGINAL_COMMAND")));
  if (vm.empty()) {
    const std::vector<std::string> names = TRY(list_vm_names(context));
    return fail(Kind::kInvalidConfig,
                fmt::format("which VM? {}", names.empty() ? "none runs" : fmt::format("{}", fmt::join(names, ", "))),
                "ssh -t sos@HOST NAME");
  }
  const VmRecord record = TRY(load_running(context, vm, "attach to the console of"));
  log_line("console of '" + vm + "': ctrl-] leaves it");
  if (TRY(attach_console(context, record)) == ConsoleEnd::kVmEnded) log_line("'" + vm + "' has ended");
  return kExitOk;
}

Result<int> run(const Context& context, const Options& options) {
  if (!options.inetd) return attach(context);
  TRY(check_root());
  TRY(become_console_sshd(context, options.config));
  return kExitFailed;
}

}  // namespace

void register_sos(CLI::App& app, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App& command = *app.add_subcommand("sos", "Serial over SSH: an sshd's way to the VMs' consoles");
  CLI::Option& inetd = *command.add_flag("--inetd", options->inetd, "Serve the SSH connection on stdin");
  command.add_option("--config", options->config, "sshd's configuration")->needs(&inetd)->capture_default_str();
  command.footer(kHelp);
  command.callback([&context, options] { context.action = [&context, options] { return run(context, *options); }; });
}

}  // namespace slicer::runner
