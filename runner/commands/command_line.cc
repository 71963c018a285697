#include "runner/commands/command_line.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "lib/base/log.h"
#include "runner/commands/command.h"
#include "runner/commands/doctor.h"
#include "runner/commands/gc.h"
#include "runner/commands/groups.h"
#include "runner/commands/network.h"
#include "runner/commands/vm.h"

namespace slicer::runner {
namespace {

void add_global_options(CLI::App& app, Context& context) {
  app.set_version_flag("--version", std::string("slicer-run ") + SLICER_VERSION);
  app.add_option("--cni-conf-dir", context.conf_dir, "Folder of the networks")
      ->envname("NETCONFPATH")
      ->capture_default_str();
  app.add_option("--cni-path", context.cni_path, "Folders of the CNI plugins, separated by ':'")
      ->envname("CNI_PATH")
      ->delimiter(':')
      ->capture_default_str();
  app.add_flag("--debug", context.debug, "Show the plugins' calls and answers on stderr");
}

int report(const Error& error) {
  log_line(error.message);
  if (!error.hint.empty()) log_line("hint: " + error.hint);
  return kExitFailed;
}

// The command that the line has got to.
const CLI::App& last_command(const CLI::App& app) {
  const CLI::App* command = &app;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  return *command;
}

// The commands that may follow one.
std::vector<std::string> commands_behind(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::App* known : command.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(known->get_name());
  return names;
}

// For a word that is none of what may follow.
std::string unknown_word(const CLI::App& app, const std::string& word) {
  const CLI::App& command = last_command(app);
  const std::vector<std::string> names = commands_behind(command);
  const std::string allowed = names.empty() ? "" : fmt::format(": use one of {}", fmt::join(names, ", "));
  return fmt::format("'{}' is not known behind '{}'{}", word, command.get_name(), allowed);
}

// A line that ends before its command: whoever types that wants to see what there is.
int show_commands(const CLI::App& command) {
  log_line(
      fmt::format("'{}' wants a command: one of {}", command.get_name(), fmt::join(commands_behind(command), ", ")));
  (void)std::fputs(command.help().c_str(), stderr);
  return kExitUsage;
}

// Help and version are errors to CLI11, with code 0.
int usage(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return app.exit(error);
  const std::vector<std::string> rest = app.remaining(true);
  const CLI::App& command = last_command(app);
  if (rest.empty() && error.get_name() == "RequiredError" && !commands_behind(command).empty())
    return show_commands(command);
  log_line(rest.empty() ? error.what() : unknown_word(app, rest.front()));
  log_line("hint: --help shows what there is");
  return kExitUsage;
}

}  // namespace

int run_command_line(int argc, char** argv) {
  (void)std::signal(SIGPIPE, SIG_IGN);  // a reader that went away is an error of write(2)
  Context context;
  CLI::App app("Boots microVMs on CNI networks.", "slicer-run");
  add_global_options(app, context);
  app.require_subcommand(1);
  app.fallthrough();  // global flags are taken behind the command too
  register_new(app, context);
  register_up(app, context);
  register_down(app, context);
  register_vm(app, context);
  register_list(app, context);
  register_network(app, context);
  register_gc(app, context);
  register_doctor(app, context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return usage(app, error);
  }
  const Result<int> code = context.action();
  return code ? *code : report(code.error());
}

}  // namespace slicer::runner
