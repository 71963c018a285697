#pragma once
// The last bytes of a stream.

#include <array>
#include <cstdint>
#include <string_view>

namespace slicer::runner {

/// Bytes are named by their offset from the stream's beginning; the last kBytes are there.
class OutputRing {
 public:
  static constexpr uint64_t kBytes = uint64_t{64} << 10;

  void append(std::string_view text) {
    if (text.size() > kBytes) {
      end_ += text.size() - kBytes;
      text.remove_prefix(text.size() - kBytes);
    }
    while (!text.empty()) {
      const uint64_t at = end_ % kBytes;
      const size_t count = text.copy(bytes_.data() + at, kBytes - at);
      end_ += count;
      text.remove_prefix(count);
    }
  }

  [[nodiscard]] uint64_t begin() const { return end_ > kBytes ? end_ - kBytes : 0; }
  [[nodiscard]] uint64_t end() const { return end_; }
  /// What is there from `offset` (begin() to end()) on, as far as it lies in one piece.
  [[nodiscard]] std::string_view piece(uint64_t offset) const {
    const uint64_t at = offset % kBytes;
    const uint64_t count = end_ - offset;
    return {bytes_.data() + at, count < kBytes - at ? count : kBytes - at};
  }

 private:
  std::array<char, kBytes> bytes_ = {};
  uint64_t end_ = 0;
};

}  // namespace slicer::runner
