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

std::set<std::string> ask_all_to_stop(const Settings& settings, const std::vector<std::string>& names,
                                      const StopWish& wish) {
  std::set<std::string> asked;
  if (names.size() < 2) return asked;
  for (const std::string& name : names) {
    if (!check_vm_name(name)) continue;
    const Result<VmRecord> record = load_record(settings, name);
    if (record && is_alive(*record) && ask_to_stop(settings, *record, wish)) asked.insert(name);
  }
  return asked;
}

}  // namespace slicer::runner
