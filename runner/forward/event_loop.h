#pragma once
// epoll(7) for the relay.

#include <chrono>
#include <cstdint>
#include <vector>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"

namespace slicer::runner {

/// Something with a descriptor that is waited for.
class Waiter {
 public:
  Waiter() = default;
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;
  virtual ~Waiter() = default;
  /// EPOLL*. It may end itself here, but lives on until the loop's caller clears up (EventLoop::wait() has returned).
  virtual void on_events(uint32_t events) = 0;
};

class EventLoop {
 public:
  static Result<EventLoop> make();

  /// From now on (level-triggered) `events` of `fd` go to `waiter`; `now` is what it waits for so far, and is changed.
  /// 0: nothing, not even a hang-up, which epoll else tells again and again.
  void watch(int fd, uint32_t events, uint32_t& now, Waiter* waiter) const;
  /// Waits once, at most `limit_ms` (-1: for ever), and hands the events out.
  void wait(int limit_ms) const;

 private:
  explicit EventLoop(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace slicer::runner
