#pragma once
// What a command of slicer-run gets and gives. Each command has one `register_X(CLI::App&, Context&)` that adds its
// subcommand; the subcommand's callback only sets `context.action`, which main() runs once the line is parsed.

#include <functional>

#include "lib/base/result.h"
#include "runner/print.h"
#include "runner/settings.h"

namespace CLI {
class App;
}

namespace slicer::runner {

/// Exit codes (docs/slicer-run.md).
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

/// The shared options, filled in before the action runs, and the action. Flags are bound to its members, so it outlives
/// the CLI::App.
struct Context : Settings {
  std::vector<std::string> command_words = {};  ///< behind `vm exec … --`: a guest's command, each word as it stands
  /// The chosen command: its exit code, or what main() prints as "slicer-run: <message>" with the hint, exit 1.
  std::function<Result<int>()> action = {};
};

}  // namespace slicer::runner
