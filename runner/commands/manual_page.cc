// man(7) from the command line's own definition, so that no flag is forgotten.
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <sstream>
#include <string_view>

#include "runner/commands/help.h"
#include "runner/completion/app_tree.h"

namespace slicer::runner {
namespace {

constexpr const char* kHead =
    ".\\\" Made by `slicer-run __man` from the commands' own definitions.\n"
    ".TH SLICER\\-RUN 8 \"\" \"slicer\\-cni\" \"System Administration\"\n"
    ".SH NAME\n"
    "slicer\\-run \\- boots microVMs on CNI networks\n"
    ".SH SYNOPSIS\n"
    ".B slicer\\-run\n"
    "[\\fIOPTIONS\\fR] \\fICOMMAND\\fR \\&...\n"
    ".SH DESCRIPTION\n"
    "It has no daemon: each VM is kept by a small supervisor process of its own, which runs the network's plugins, "
    "starts\n"
    "the hypervisor and takes everything back when the VM ends, however it ends.\n"
    "Results go to standard output, messages to standard error.\n";

constexpr const char* kTail =
    ".SH EXIT STATUS\n"
    ".TP\n0\ndone\n"
    ".TP\n1\nan error: one line says what is wrong, a second, \"hint:\", what to do\n"
    ".TP\n2\nthe command line is wrong\n"
    ".PP\n"
    "\\fBvm exec\\fR and \\fBvm shell\\fR end with the exit status of what ran in the guest.\n"
    ".SH ENVIRONMENT\n"
    ".TP\n\\fBNETCONFPATH\\fR\nas \\fB\\-\\-cni\\-conf\\-dir\\fR\n"
    ".TP\n\\fBCNI_PATH\\fR\nas \\fB\\-\\-cni\\-path\\fR\n"
    ".TP\n\\fBNO_COLOR\\fR\nno colours, on a terminal either\n"
    ".SH FILES\n"
    ".TP\n\\fI/etc/cni/net.d\\fR\nthe networks\n"
    ".TP\n\\fI/opt/cni/bin\\fR\nthe plugins\n"
    ".TP\n\\fI/run/slicer/NAME\\fR\na VM that runs, or is dead\n"
    ".TP\n\\fI/var/lib/slicer/vms/NAME\\fR\nwhat is kept of a VM: how to boot it again, and its disk\n"
    ".TP\n\\fI/var/lib/slicer/images\\fR\nimages that VMs boot\n"
    ".SH SEE ALSO\n"
    "docs/slicer\\-run.md, docs/host\\-groups.md and docs/operations.md of slicer\\-cni.\n";

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '\\')
      result += "\\e";
    else if (c == '-')
      result += "\\-";
    else
      result += c;
  }
  constexpr std::string_view kEllipsis = "…";
  for (size_t at = 0; (at = result.find(kEllipsis, at)) != std::string::npos;)
    result.replace(at, kEllipsis.size(), "...");
  if (result.starts_with('.') || result.starts_with('\'')) result.insert(0, "\\&");
  return result;
}

// CLI11's "TEXT:{linux,macos}" and "UINT:INT in [1 - 64]" without the type of what is told behind it.
std::string value_text(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t open = type.find('{');
  const size_t close = type.find('}', open);
  if (open == std::string::npos || close == std::string::npos) return type.substr(0, type.find(':'));
  std::string words = type.substr(open + 1, close - open - 1);
  std::ranges::replace(words, ',', '|');
  return words;
}

// "--json", "-f, --follow", "--ram-mb UINT"
std::string flag_text(const CLI::Option& option) {
  std::string text;
  for (const std::string& name : option.get_snames()) text += (text.empty() ? "" : ", ") + ("-" + name);
  for (const std::string& name : option.get_lnames()) text += (text.empty() ? "" : ", ") + ("--" + name);
  text = "\\fB" + escaped(text) + "\\fR";
  if (option.get_items_expected_max() > 0) text += " \\fI" + escaped(value_text(option)) + "\\fR";
  return text;
}

std::string description_text(const CLI::Option& option) {
  std::string text = option.get_description();
  if (!option.get_default_str().empty()) text += " (default: " + option.get_default_str() + ")";
  return text;
}

std::string positional_text(const CLI::Option& option) {
  const std::string name =
      "\\fI" + escaped(option.get_name()) + "\\fR" + (option.get_items_expected_max() > 1 ? " \\&..." : "");
  return option.get_required() ? name : "[" + name + "]";
}

std::string entry(const std::string& name, const std::string& description) {
  return ".TP\n" + name + "\n" + escaped(description) + "\n";
}

bool is_shown(const CLI::Option& option) { return !option.get_group().empty() && !option.check_lname("help"); }

std::string options_text(const CLI::App& command) {
  std::string text;
  for (const CLI::Option* option : options_of(command))
    if (option->get_positional() && is_shown(*option))
      text += entry("\\fI" + escaped(option->get_name()) + "\\fR", description_text(*option));
  for (const CLI::Option* option : options_of(command))
    if (!option->get_positional() && is_shown(*option)) text += entry(flag_text(*option), description_text(*option));
  return text;
}

// As it stands: its columns are meant.
std::string footer_text(const std::string& footer) {
  if (footer.empty()) return "";
  std::string text = ".PP\n.nf\n";
  std::istringstream lines(footer);
  for (std::string line; std::getline(lines, line);) text += escaped(line) + "\n";
  return text + ".fi\n";
}

void add_commands(const CLI::App& command, const std::string& path, std::string& text) {
  for (const CLI::App* below : commands_of(command)) {
    const std::string name = path.empty() ? below->get_name() : path + " " + below->get_name();
    if (!commands_of(*below).empty()) {
      add_commands(*below, name, text);
      continue;
    }
    text += ".SS \"" + escaped(name) + "\"\n.B slicer\\-run " + escaped(name) + "\n";
    std::string usage = "[\\fIOPTIONS\\fR]";
    for (const CLI::Option* option : options_of(*below))
      if (option->get_positional()) usage += " " + positional_text(*option);
    text += usage + "\n.PP\n" + escaped(below->get_description()) + ".\n";
    text += options_text(*below) + footer_text(below->get_footer());
  }
}

}  // namespace

std::string manual_page(const CLI::App& app) {
  std::string text = kHead;
  text += ".SH OPTIONS\nThey may stand before or behind the command.\n" + options_text(app);
  text += ".SH COMMANDS\n";
  add_commands(app, "", text);
  return text + kTail;
}

}  // namespace slicer::runner
