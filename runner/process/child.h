#pragma once
// Programs of the host as children.

#include <sys/types.h>

#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"

namespace slicer::runner {

struct ChildSpec {
  std::vector<std::string> argv = {};  ///< argv[0] is the program's path
  // -1: this process's own.
  int in = -1;
  int out = -1;
  int err = -1;
};

/// A child that dies with the thread that started it. The destructor kills and reaps it.
class Child {
 public:
  /// Its signals are as a shell's child has them. A program that cannot be started ends with 127.
  static Result<Child> start(const ChildSpec& spec);

  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  /// Its exit code; 128 + N when signal N ended it.
  int wait();
  /// It goes on by itself, still no longer than the thread that started it: SIGCHLD must be ignored, since nobody reaps
  /// it.
  void leave() { pid_ = -1; }
  /// Sends it a signal.
  void signal(int number) const;
  /// Readable when it has ended.
  [[nodiscard]] int pidfd() const { return pidfd_.get(); }

 private:
  Child(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  void end();

  pid_t pid_ = -1;  ///< -1: reaped
  UniqueFd pidfd_ = {};
};

/// Both ends of a pipe, closed at exec.
struct Pipe {
  UniqueFd read_end = {};
  UniqueFd write_end = {};
};
Result<Pipe> make_pipe();

/// Becomes the program: returns only when that fails. Signals are as a shell's child has them.
Result<void> become(const std::vector<std::string>& argv);

}  // namespace slicer::runner
