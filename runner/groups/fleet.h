#pragma once
// Several VMs at once: booted, kept and ended side by side.

#include <span>
#include <string>
#include <vector>

#include "lib/base/result.h"
#include "runner/supervisor/launch.h"
#include "runner/supervisor/signals.h"

namespace slicer::runner {

/// VMs of host groups. Messages about each go to stdout ("demo-1 runs: … (1 of 3)") and stderr (what went wrong, what
/// is slow).
class Fleet {
 public:
  Fleet(const Settings& settings, const Signals& signals) : settings_(settings), signals_(signals) {}

  /// A VM that runs already and is to be kept.
  void adopt(VmRecord record) { running_.push_back(std::move(record)); }

  /// Boots them, up to 16 side by side. One that fails is reported and the others go on. A signal: no further one is
  /// begun.
  Result<void> boot(std::vector<VmRequest> requests);

  /// Asks all to shut down and waits until nothing of them is left; a signal meanwhile: without the guests' shutdown.
  Result<void> end();

  /// Tells it on stderr and counts it.
  void report(const Error& error);

  [[nodiscard]] const std::vector<VmRecord>& running() const { return running_; }
  [[nodiscard]] unsigned failed() const { return failed_; }
  /// Those that could not be booted.
  [[nodiscard]] const std::vector<VmDefinition>& missed() const { return missed_; }
  [[nodiscard]] bool interrupted() const { return signal_.number != 0; }
  /// The signal that came last.
  [[nodiscard]] const Signals::Taken& signal() const { return signal_; }

 private:
  struct Boot;

  void begin(Boot& boot);
  Result<void> collect(Boot& boot, size_t index);
  bool took_signal();
  /// Waits until one of the VMs has ended: its index; when a signal comes first or the time is up: how many there are.
  size_t wait_for_end_of_one(int limit_ms);
  Result<void> bury(size_t index);
  void signal_all(int number);

  const Settings& settings_;
  const Signals& signals_;
  std::vector<VmRecord> running_ = {};
  unsigned failed_ = 0;
  std::vector<VmDefinition> missed_ = {};
  Signals::Taken signal_ = {};
};

}  // namespace slicer::runner
