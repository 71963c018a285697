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
  /// How many of the frames that have come hold `marker`.
  [[nodiscard]] int count(const std::string& marker) const;

 private:
  UniqueFd fd_;
};

}  // namespace slicer::test
