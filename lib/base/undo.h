#pragma once
// Rollback: what has been done so far, undone backwards unless committed.

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/log.h"
#include "lib/base/result.h"

namespace slicer {

/// Push the inverse of each step right after the step; every early return then runs them, newest first.
/// A step that cannot be undone is logged: the error that the caller sees stays the first one.
class Undo {
 public:
  Undo() = default;
  Undo(const Undo&) = delete;
  Undo& operator=(const Undo&) = delete;
  ~Undo() {
    for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
      if (const Result<void> done = step->second(); !done)
        log_line("undo: " + step->first + ": " + done.error().message + ", ignoring");
    }
  }

  void push(std::string what, std::function<Result<void>()> step) {
    steps_.emplace_back(std::move(what), std::move(step));
  }
  /// Everything worked: forget the steps.
  void commit() { steps_.clear(); }

 private:
  std::vector<std::pair<std::string, std::function<Result<void>()>>> steps_;
};

}  // namespace slicer
