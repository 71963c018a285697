#pragma once
// What comes out on the LAN, seen on a machine's link.

#include <chrono>
#include <string>

#include "lib/base/unique_fd.h"

namespace slicer::test {

/// Sees every frame that reaches the link, from its construction on.
class LanWatch {
 public:
  LanWatch(const std::string& netns, const std::string& link);
  /// Whether a frame with `marker` in it comes, or came, within `limit`.
  [[nodiscard]] bool sees(const std::string& marker,
                          std::chrono::milliseconds limit = std::chrono::milliseconds(250)) const;
  /// Whether one with `marker` comes before the one with `last`, which comes for certain: nothing waits for what does
  /// not come. Gives up when `last` does not come either.
  [[nodiscard]] bool sees_before(const std::string& marker, const std::string& last) const;
  /// How many of the frames that have come hold `marker`.
  [[nodiscard]] int count(const std::string& marker) const;

 private:
  /// The next frame; empty when none comes in time.
  [[nodiscard]] std::string next(std::chrono::steady_clock::time_point end) const;
  UniqueFd fd_;
};

}  // namespace slicer::test
