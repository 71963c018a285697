#include "runner/commands/command_line.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/log.h"
#include "runner/commands/command.h"
#include "runner/commands/doctor.h"
#include "runner/commands/examples.h"
#include "runner/commands/gc.h"
#include "runner/commands/groups.h"
#include "runner/commands/help.h"
#include "runner/commands/network.h"
#include "runner/commands/sos.h"
#include "runner/commands/view.h"
#include "runner/commands/vm.h"
#include "runner/completion/app_tree.h"
#include "runner/completion/completion.h"
#include "runner/groups/keys.h"

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
      ->allow_extra_args(false)  // a word behind it is a command, a mistyped one too
      ->capture_default_str();
  app.add_flag("--debug", context.debug, "Show the plugins' calls and answers on stderr");
}

int report(const Error& error) {
  const bool may_not = error.hint.empty() && error.sys_errno == EACCES && geteuid() != 0;
  log_line(error.message);
  if (may_not || !error.hint.empty()) log_line("hint: " + (may_not ? "run it with sudo" : error.hint));
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
  for (const CLI::App* known : commands_of(command)) names.push_back(known->get_name());
  return names;
}

// The long flags that may stand behind a command, the program's own among them.
std::vector<std::string> flags_behind(const CLI::App& command) {
  std::vector<std::string> flags;
  for (const CLI::App* at = &command; at != nullptr; at = at->get_parent())
    for (const CLI::Option* option : options_of(*at))
      for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  return flags;
}

// For a word that is none of what may follow: the nearest that is, else all of them (of flags --help has a list).
std::string unknown_word(const CLI::App& app, const std::string& word) {
  const CLI::App& command = last_command(app);
  const bool is_flag = word.starts_with("-");
  const std::vector<std::string> names = is_flag ? flags_behind(command) : commands_behind(command);
  const std::vector<std::string_view> known(names.begin(), names.end());
  const std::string told = fmt::format("'{}' is not known behind '{}'", word, command.get_name());
  if (known.empty()) return told;
  const std::string advice = suggest(is_flag ? word.substr(0, word.find('=')) : word, known);
  return is_flag && !advice.starts_with("did you mean") ? told : told + ": " + advice;
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

// What programs ask, never a person: the shells' completion, and who makes the manual page.
std::optional<Result<void>> answer_program(const CLI::App& app, const Context& context,
                                           std::span<char* const> arguments) {
  if (arguments.size() < 2) return std::nullopt;
  const std::string_view question = arguments[1];
  if (question == "__man") return print(manual_page(app));
  if (question != "__complete") return std::nullopt;
  std::vector<std::string> words(arguments.begin() + 2, arguments.end());
  if (!words.empty() && words.front() == "--") words.erase(words.begin());
  return print(completion_text(complete(app, look_up_names(context), words)));
}

// CLI11 would look for options of ours among a command's own words, and take "[a,b]" apart. @return what is left of
// argc.
int take_command_words(int argc, char** argv, Context& context) {
  const std::span<char*> words(argv, static_cast<size_t>(argc));
  const auto is = [](const char* text) { return [text](const char* word) { return std::string_view(word) == text; }; };
  const auto exec = std::ranges::find_if(words, is("exec"));
  const auto dashes = std::find_if(exec, words.end(), is("--"));
  if (exec == words.begin() || dashes == words.end() || std::string_view(*std::prev(exec)) != "vm") return argc;
  context.command_words.assign(std::next(dashes), words.end());
  return static_cast<int>(dashes - words.begin());
}

}  // namespace

void register_commands(CLI::App& app, Context& context) {
  add_global_options(app, context);
  app.require_subcommand(1);
  app.fallthrough();  // global flags are taken behind the command too
  register_new(app, context);
  register_up(app, context);
  register_down(app, context);
  register_vm(app, context);
  register_list(app, context);
  register_forward(app, context);
  register_inspect(app, context);
  register_map(app, context);
  register_network(app, context);
  register_route(app, context);
  register_gc(app, context);
  register_doctor(app, context);
  register_sos(app, context);
  register_completion(app, context);
  add_examples(app);
}

int run_command_line(int argc, char** argv) {
  (void)std::signal(SIGPIPE, SIG_IGN);  // a reader that went away is an error of write(2)
  Context context;
  CLI::App app(kProgramDescription, kProgramName);
  register_commands(app, context);
  if (const auto answered = answer_program(app, context, std::span(argv, static_cast<size_t>(argc))))
    return *answered ? kExitOk : report(answered->error());
  argc = take_command_words(argc, argv, context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return usage(app, error);
  }
  const Result<int> code = context.action();
  return code ? *code : report(code.error());
}

}  // namespace slicer::runner
