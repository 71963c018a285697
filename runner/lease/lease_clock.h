#pragma once
// The clock that leases run by.

#include <chrono>
#include <ctime>

namespace slicer::runner {

/// Time since boot with the time that the machine slept (CLOCK_BOOTTIME): a lease ends while its host is suspended.
/// std::chrono::steady_clock stands still then.
struct LeaseClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<LeaseClock>;
  static constexpr bool is_steady = true;

  static time_point now() noexcept {
    timespec at = {};
    (void)clock_gettime(CLOCK_BOOTTIME, &at);  // cannot fail: the kernel has it since 2.6.39
    return time_point(std::chrono::seconds(at.tv_sec) + std::chrono::nanoseconds(at.tv_nsec));
  }
};

}  // namespace slicer::runner
