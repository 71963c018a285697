#pragma once
// QEMU's machine protocol: JSON lines over a socket. Source: QEMU, docs/interop/qmp-spec.txt.

#include <chrono>
#include <string>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"

namespace slicer::runner {

class Qmp {
 public:
  Qmp() = default;
  explicit Qmp(UniqueFd socket) : socket_(std::move(socket)) {}

  /// The greeting and the end of the negotiation: after this QEMU's machine is set up and takes commands.
  /// Errors: kUnavailable (QEMU went away), kBusy (no answer in time).
  Result<void> handshake(std::chrono::milliseconds limit);
  /// Runs a command without arguments; events before its answer are dropped. Errors: the same, and kInternal with
  /// QEMU's words when it refuses.
  Result<void> execute(const std::string& command, std::chrono::milliseconds limit);
  /// Reads and drops the events that are there, of very many a part: they would pile up in QEMU. False when QEMU closed
  /// the socket.
  bool drop_events();
  /// An event that was dropped told of a guest's reset.
  [[nodiscard]] bool saw_reset() const { return saw_reset_; }
  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  using Deadline = std::chrono::steady_clock::time_point;
  Result<std::string> read_line(Deadline deadline);
  Result<void> await_answer(const std::string& what, Deadline deadline);

  UniqueFd socket_ = {};
  std::string buffer_ = {};
  bool saw_reset_ = false;
};

}  // namespace slicer::runner
