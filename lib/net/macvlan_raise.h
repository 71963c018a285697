#pragma once
// Private to lib/net: raising a macvlan or macvtap whose MAC a dying namespace may still hold.

#include <poll.h>

#include <cerrno>
#include <chrono>

#include "lib/base/result.h"

namespace slicer::net {

/// The kernel takes a namespace down some time after its last process: the link of the last VM of this MAC may still be
/// there, and two of one MAC on a parent are refused (drivers/net/macvlan.c, macvlan_open()). Calls `raise`, which
/// returns Result<void>, until it says something else than EADDRINUSE, for 3 seconds at most.
template <class Raise>
Result<void> raise_when_mac_is_free(const Raise& raise) {
  constexpr int kPauseMs = 10;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(3);
  for (;;) {
    Result<void> up = raise();
    if (up || up.error().sys_errno != EADDRINUSE || std::chrono::steady_clock::now() > end) return up;
    (void)poll(nullptr, 0, kPauseMs);
  }
}

}  // namespace slicer::net
