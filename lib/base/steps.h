#pragma once

#include <optional>
#include <utility>

#include "lib/base/result.h"

namespace slicer {

/// The steps of a cleanup: each is done whatever became of the one before; the first error is the one reported, with
/// the messages of the others behind it.
class Steps {
 public:
  void take(Result<void> done) {
    if (done) return;
    if (!first_) {
      first_ = std::move(done).error();
    } else {
      first_->message += "; " + done.error().message;
    }
  }
  Result<void> end() && {
    if (first_) return std::unexpected(std::move(*first_));
    return {};
  }

 private:
  std::optional<Error> first_;
};

}  // namespace slicer
