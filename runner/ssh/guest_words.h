#pragma once
// What a guest says on a copy's stderr. A guest may be anybody's: to a terminal its control characters do nothing.

#include <optional>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"
#include "lib/base/visible_text.h"
#include "runner/process/child.h"

namespace slicer::runner {

/// On a terminal a pipe between the child and stderr; else nothing, and every byte passes as it is.
class GuestWords {
 public:
  static Result<GuestWords> open();
  /// For the child's stderr (ChildSpec); -1: this process's own.
  [[nodiscard]] int child_end() const { return pipe_ ? pipe_->write_end.get() : -1; }
  /// The child has it.
  void close_child_end();
  /// Readable when there is something to take(); -1: never.
  [[nodiscard]] int fd() const { return pipe_ ? pipe_->read_end.get() : -1; }
  /// Shows what there is, without waiting.
  void take();

 private:
  GuestWords() = default;
  std::optional<Pipe> pipe_ = {};
  VisibleText text_ = {};
};

}  // namespace slicer::runner
