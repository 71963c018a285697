#pragma once
// How a VM is ended: --timeout and --now.

#include <set>
#include <string>
#include <vector>

#include "runner/commands/command.h"
#include "runner/supervisor/supervisor.h"

namespace slicer::runner {

struct StopOptions {
  bool now = false;
  unsigned timeout_seconds = static_cast<unsigned>(kPowerDownLimit.count());

  [[nodiscard]] StopWish wish() const {
    return {.now = now || timeout_seconds == 0, .limit = std::chrono::seconds(timeout_seconds)};
  }
};
void add_stop_options(CLI::App& command, StopOptions& options);

/// Tells all VMs of the list that run to stop, so that they do so side by side. What fails here fails again when each
/// is waited for.
/// @return those that were told
std::set<std::string> ask_all_to_stop(const Settings& settings, const std::vector<std::string>& names,
                                      const StopWish& wish);

}  // namespace slicer::runner
