#include "runner/commands/stop_options.h"

#include <CLI/App.hpp>

#include "runner/state/vm_files.h"

namespace slicer::runner {

void add_stop_options(CLI::App& command, StopOptions& options) {
  command.add_option("--timeout", options.timeout_seconds, "Seconds that the guest has for its shutdown; then force")
      ->check(CLI::Range(0U, static_cast<unsigned>(kMaxStopLimit.count())))
      ->capture_default_str();
  command.add_flag("--now", options.now, "Do not wait for the guest to shut down");
}

void ask_all_to_stop(const Settings& settings, const std::vector<std::string>& names, const StopWish& wish) {
  if (names.size() < 2) return;
  for (const std::string& name : names) {
    if (!check_vm_name(name)) continue;
    if (const Result<VmRecord> record = load_record(settings, name); record) (void)ask_to_stop(*record, wish);
  }
}

}  // namespace slicer::runner
