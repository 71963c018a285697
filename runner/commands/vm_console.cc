#include <unistd.h>

#include <CLI/App.hpp>
#include <memory>

#include "lib/base/log.h"
#include "runner/commands/vm.h"
#include "runner/state/vm_files.h"
#include "runner/state/vm_record.h"
#include "runner/supervisor/console.h"

namespace slicer::runner {
namespace {

struct Options {
  std::string name = {};
  bool follow = false;
  bool packets = false;
  bool raw = false;
};

Result<int> console(const Context& context, const Options& options) {
  TRY(check_vm_name(options.name));
  const VmRecord record = TRY(load_record(context, options.name));
  log_line("console of '" + record.name + "': ctrl-] leaves it");
  if (TRY(attach_console(context, record)) == ConsoleEnd::kVmEnded) log_line("'" + record.name + "' has ended");
  return kExitOk;
}

Result<int> logs(const Context& context, const Options& options) {
  TRY(check_vm_name(options.name));
  const LogWish wish{
      .console = !options.packets, .follow = options.follow, .visible = !options.raw && isatty(STDOUT_FILENO) == 1};
  TRY(show_log(context, TRY(load_record(context, options.name)), wish));
  return kExitOk;
}

}  // namespace

void register_vm_console(CLI::App& vm, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App& command = *vm.add_subcommand("console", "Attach to a VM's serial console; ctrl-] leaves it");
  command.add_option("NAME", options->name, "The VM")->required();
  command.callback(
      [&context, options] { context.action = [&context, options] { return console(context, *options); }; });
}

void register_vm_logs(CLI::App& vm, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App& command = *vm.add_subcommand("logs", "Show what a VM wrote to its console, and what its lists dropped");
  command.add_option("NAME", options->name, "The VM")->required();
  command.add_flag("-f,--follow", options->follow, "Go on until the VM ends");
  command.add_flag("--packets", options->packets, "Only what slicer-firewall dropped (its key \"log\")");
  command.add_flag("--raw", options->raw, "Byte for byte on a terminal, too: a guest can do to it what it likes");
  command.callback([&context, options] { context.action = [&context, options] { return logs(context, *options); }; });
}

}  // namespace slicer::runner
