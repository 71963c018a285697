#pragma once
// Logs that a guest can fill: /run is memory.

#include <string>

#include "lib/base/unique_fd.h"
#include "runner/supervisor/side_task.h"

namespace slicer::runner {

/// Above this a log is cut.
inline constexpr long kMaxLogBytes = 4L << 20;
/// What a cut leaves: its end.
inline constexpr long kKeptLogBytes = 1L << 20;

/// Cuts the file when it is larger than kMaxLogBytes. Its writers append (O_APPEND), so they go on behind what is left;
/// what they write during the cut may be lost. Absent is fine.
void bound_log(const std::string& path);

/// Keeps a log of another process bounded. Costs nothing while nobody writes (inotify; where the host has no instance
/// left, 200 VMs are more than its default, a look every two seconds).
class LogBound : public SideTask {
 public:
  explicit LogBound(std::string path);
  [[nodiscard]] int fd() const override { return changes_.get(); }
  void on_readable() override;
  [[nodiscard]] Clock::time_point next_wakeup() const override { return next_look_; }
  void on_time() override;

 private:
  std::string path_;
  UniqueFd changes_ = {};
  Clock::time_point next_look_ = Clock::time_point::max();
};

}  // namespace slicer::runner
