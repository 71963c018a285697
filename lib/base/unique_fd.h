#pragma once
// Sole owner of a file descriptor.

#include <unistd.h>

#include <utility>

namespace slicer {

/// Owns one descriptor and closes it. Open with O_CLOEXEC: nothing of ours is meant to leak into a child.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  /// Gives the descriptor up; the caller closes it.
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1) {
    if (fd_ >= 0) (void)close(fd_);  // Linux: the descriptor is gone whatever close() returns
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

}  // namespace slicer
