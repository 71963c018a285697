// The manual page and the examples, held against the commands as they are.
#include "runner/commands/help.h"

#include <doctest/doctest.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <sstream>

#include "runner/commands/command_line.h"
#include "runner/completion/app_tree.h"

namespace slicer::runner {
namespace {

struct Program {
  Context context;
  CLI::App app{kProgramDescription, kProgramName};
  Program() { register_commands(app, context); }
};

void for_each_command(const CLI::App& app, const std::string& path,
                      const std::function<void(const CLI::App&, const std::string&)>& body) {
  for (const CLI::App* below : commands_of(app)) {
    const std::string name = path.empty() ? below->get_name() : path + " " + below->get_name();
    if (commands_of(*below).empty())
      body(*below, name);
    else
      for_each_command(*below, name, body);
  }
}

// The command of an example's line: up to what explains it (three blanks), or to what a shell does with it.
std::string command_of(std::string line) {
  line = line.substr(line.find("slicer-run ") + 11);
  for (const char* end : {"   ", " | ", " > ", " < ", ")", " &", ";", "\\"}) line = line.substr(0, line.find(end));
  std::erase(line, '\'');
  std::erase(line, '"');
  return line;
}

}  // namespace

TEST_CASE("help: the manual page has every command, flag and argument, and no line that troff takes for its own") {
  const Program program;
  const std::string page = manual_page(program.app);
  const auto bold = [](std::string text) {
    for (size_t at = 0; (at = text.find('-', at)) != std::string::npos; at += 2) text.insert(at, 1, '\\');
    return text;
  };
  for_each_command(program.app, "", [&](const CLI::App& command, const std::string& name) {
    CAPTURE(name);
    const size_t begin = page.find(".SS \"" + bold(name) + "\"\n");
    REQUIRE(begin != std::string::npos);
    const std::string section = page.substr(begin, page.find("\n.SS ", begin) - begin);
    for (const CLI::Option* option : options_of(command)) {
      for (const std::string& flag : option->get_lnames())
        CHECK_MESSAGE((flag == "help" || section.find(bold("--" + flag)) != std::string::npos), flag);
      if (option->get_positional()) CHECK(section.find("\\fI" + bold(option->get_name())) != std::string::npos);
    }
  });
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    CAPTURE(line);
    CHECK_FALSE(line.starts_with("'"));
    if (line.starts_with("."))
      CHECK((line.starts_with(".TP") || line.starts_with(".S") || line.starts_with(".PP") || line.starts_with(".nf") ||
             line.starts_with(".fi") || line.starts_with(".B ") || line.starts_with(".TH") ||
             line.starts_with(".\\\"")));
    for (const char c : line) CHECK(static_cast<unsigned char>(c) < 0x80);
  }
}

TEST_CASE("help: every command has examples, and each example is a line that the program takes") {
  const Program program;
  for_each_command(program.app, "", [](const CLI::App& command, const std::string& name) {
    CAPTURE(name);
    const std::string footer = command.get_footer();
    CHECK_MESSAGE(footer.find("Examples:\n") != std::string::npos, name << " --help shows no examples");
    const std::string shown = name == "vm list" ? "list" : name;  // the same command
    CHECK_MESSAGE(footer.find("slicer-run " + shown) != std::string::npos, "no example shows " << name);
    std::istringstream lines(footer);
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("  ") || line.find("slicer-run ") == std::string::npos) continue;
      CAPTURE(line);
      Program fresh;
      try {
        fresh.app.parse(command_of(line), false);
      } catch (const CLI::ParseError& error) {
        FAIL_CHECK(error.what());
      }
    }
  });
}

}  // namespace slicer::runner
