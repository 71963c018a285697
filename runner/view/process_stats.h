#pragma once
// What a process has used so far.

#include <chrono>
#include <cstdint>
#include <optional>

#include "runner/state/process_id.h"

namespace slicer::runner {

struct ProcessStats {
  std::chrono::duration<double> cpu{};  ///< time of its threads on processors, user and system
  std::chrono::duration<double> age{};  ///< since its start, with the time that the machine slept
  uint64_t rss_bytes = 0;               ///< its memory in use, shared pages with it

  /// Of one processor, since its start: 100 is one that is always busy.
  [[nodiscard]] double cpu_percent() const;
};

/// Of exactly this process, by one read of /proc/<pid>/stat. None: it has ended, or never was.
std::optional<ProcessStats> read_process_stats(const ProcessId& id);

}  // namespace slicer::runner
