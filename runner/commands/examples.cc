#include "runner/commands/examples.h"

#include <CLI/App.hpp>
#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "runner/completion/app_tree.h"

namespace slicer::runner {
namespace {

struct Example {
  std::string_view command;
  const char* text;
};

constexpr std::array<Example, 12> kExamples = {{
    {"doctor",
     "Examples:\n"
     "  slicer-run doctor\n"
     "  slicer-run doctor --json | jq -r '.[] | select(.level == \"fail\") | .what'"},
    {"gc",
     "Examples:\n"
     "  slicer-run gc    after a crash or a reboot; what is kept (slicer-run list) stays"},
    {"network list",
     "Examples:\n"
     "  slicer-run network list"},
    {"network show",
     "Examples:\n"
     "  slicer-run network show slicer"},
    {"network rm",
     "Examples:\n"
     "  slicer-run network rm slicer            its bridge and rules; the file stays\n"
     "  slicer-run network rm slicer --purge    the file, too"},
    {"network reload",
     "Examples:\n"
     "  slicer-run network reload slicer    after an edit of its lists\n"
     "  slicer-run network reload           after somebody emptied the packet filter"},
    {"vm console",
     "Examples:\n"
     "  slicer-run vm console demo-1    ctrl-] leaves it, and the VM runs on"},
    {"vm firewall",
     "Examples:\n"
     "  slicer-run vm firewall demo-1"},
    {"vm restart",
     "Examples:\n"
     "  slicer-run vm restart demo-1"},
    {"vm rm",
     "Examples:\n"
     "  slicer-run vm rm demo-1          shut down first\n"
     "  slicer-run vm rm --now demo-1    at once"},
    {"vm start",
     "Examples:\n"
     "  slicer-run vm start demo-1"},
    {"vm logs",
     "Examples:\n"
     "  slicer-run vm logs demo-1\n"
     "  slicer-run vm logs demo-1 --follow    until the VM ends, or ctrl-c"},
}};

const char* text_for(std::string_view command) {
  const auto found = std::ranges::find(kExamples, command, &Example::command);
  return found == kExamples.end() ? nullptr : found->text;
}

// One that explains without an example gets it in front.
void add_to(CLI::App& command, const std::string& path) {
  for (CLI::App* below : commands_of(command))
    add_to(*below, path.empty() ? below->get_name() : path + " " + below->get_name());
  const std::string own = command.get_footer();
  const char* const text = text_for(path);
  if (text == nullptr || own.find("Examples:") != std::string::npos) return;
  command.footer(std::string(text) + (own.empty() ? "" : "\n\n" + own));
}

}  // namespace

void add_examples(CLI::App& app) { add_to(app, ""); }

}  // namespace slicer::runner
