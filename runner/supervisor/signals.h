#pragma once
// Signals as something to wait for.

#include <csignal>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"

namespace slicer::runner {

/// While it lives, SIGTERM, SIGINT and SIGHUP end nothing but make fd() readable. Then they are as they were before;
/// those that came and were not taken are forgotten.
class Signals {
 public:
  static Result<Signals> block();
  Signals(Signals&&) noexcept = default;
  Signals& operator=(Signals&&) noexcept = delete;
  ~Signals();

  [[nodiscard]] int fd() const { return fd_.get(); }
  /// The number of one that has come; 0: none.
  [[nodiscard]] int take() const { return take_with_value().number; }
  struct Taken {
    int number = 0;  ///< 0: none is pending
    int value = 0;   ///< signal_process()'s
  };
  [[nodiscard]] Taken take_with_value() const;

 private:
  Signals(UniqueFd fd, const sigset_t& before) : fd_(std::move(fd)), before_(before) {}

  UniqueFd fd_;
  sigset_t before_;
};

}  // namespace slicer::runner
