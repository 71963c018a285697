#pragma once
// How a supervisor is to end its VM: what comes with the signal (sigqueue(3)'s value), so that asking costs no socket
// and works as long as the process does.

#include <chrono>

namespace slicer::runner {

/// A Debian guest takes 3 s under TCG to shut down; one without ACPI never does.
inline constexpr std::chrono::seconds kPowerDownLimit{15};

struct StopOrder {
  bool keep = false;                             ///< the VM is listed as stopped from then on, and can be booted again
  std::chrono::seconds limit = kPowerDownLimit;  ///< for the guest, after its power button was pressed
};

inline constexpr int kKeepBit = 1 << 30;
inline constexpr int kMaxStopSeconds = kKeepBit - 1;

inline int order_value(const StopOrder& order) {
  return static_cast<int>(order.limit.count()) | (order.keep ? kKeepBit : 0);
}
/// A signal without a value (kill(1)) is 0: the defaults.
inline StopOrder order_from(int value) {
  StopOrder order;
  order.keep = (value & kKeepBit) != 0;
  if (const int seconds = value & kMaxStopSeconds; seconds > 0) order.limit = std::chrono::seconds(seconds);
  return order;
}

}  // namespace slicer::runner
