#pragma once
// What a command of slicer-run gets and gives. Each command has one `register_X(CLI::App&, Context&)` that adds its
// subcommand; the subcommand's callback only sets `context.action`, which main() runs once the line is parsed.

#include <functional>
#include <string>
#include <vector>

#include "lib/base/result.h"

namespace CLI {
class App;
}

namespace slicer::runner {

/// Exit codes (docs/slicer-run.md).
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

/// Options that all commands share, filled in before the action runs.
struct Context {
  std::string conf_dir = "/etc/cni/net.d";               ///< --cni-conf-dir, NETCONFPATH
  std::vector<std::string> cni_path = {"/opt/cni/bin"};  ///< CNI_PATH
  std::string cache_dir = "/var/lib/cni";
  std::string state_dir = "/run/slicer";
  bool debug = false;  ///< --debug: the plugins' calls and answers on stderr
  /// The chosen command: its exit code, or what main() prints as "slicer-run: <message>" with the hint, exit 1.
  std::function<Result<int>()> action = {};
};

}  // namespace slicer::runner
