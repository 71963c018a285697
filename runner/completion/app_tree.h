#pragma once
// The command line's definition as people see it: CLI11's option groups are subcommands without a name to it.

#include <CLI/App.hpp>
#include <algorithm>
#include <vector>

namespace slicer::runner {

/// The commands below one.
inline std::vector<CLI::App*> commands_of(CLI::App& command) {
  return command.get_subcommands([](const CLI::App* below) { return !below->get_name().empty(); });
}
inline std::vector<const CLI::App*> commands_of(const CLI::App& command) {
  return command.get_subcommands([](const CLI::App* below) { return !below->get_name().empty(); });
}

/// A command's flags and arguments, in groups or not.
inline std::vector<const CLI::Option*> options_of(const CLI::App& command) {
  std::vector<const CLI::Option*> options = command.get_options();
  for (const CLI::App* group : command.get_subcommands([](const CLI::App* below) { return below->get_name().empty(); }))
    for (const CLI::Option* option : group->get_options())
      if (std::find(options.begin(), options.end(), option) == options.end()) options.push_back(option);
  return options;
}

}  // namespace slicer::runner
