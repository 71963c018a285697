#pragma once
// What a supervisor does beside waiting for its VM's end: each such thing is one object in watch_vm()'s loop.

#include <chrono>

namespace slicer::runner {

class SideTask {
 public:
  using Clock = std::chrono::steady_clock;

  SideTask() = default;
  SideTask(const SideTask&) = delete;
  SideTask& operator=(const SideTask&) = delete;
  virtual ~SideTask() = default;

  /// To wait on for something to read; -1: nothing, for now. Asked anew each time round.
  [[nodiscard]] virtual int fd() const { return -1; }
  /// fd() is readable (or broken). Must not block, nor take long: the VM's signals wait meanwhile.
  virtual void on_readable() {}
  /// When on_time() is to be called next. Asked anew each time round.
  [[nodiscard]] virtual Clock::time_point next_wakeup() const { return Clock::time_point::max(); }
  /// next_wakeup() has come.
  virtual void on_time() {}
  /// The hypervisor has ended: what it wrote before is there to be read.
  virtual void on_end() {}
};

}  // namespace slicer::runner
