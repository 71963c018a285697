#pragma once
// The reader of an NFLOG group.

#include <cstdint>
#include <functional>
#include <span>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"

namespace slicer::netfilter {

/// Gets what rules of one network namespace log to a group. The kernel gives a group to one reader in a namespace.
class PacketLog {
 public:
  /// In the calling thread's namespace, whatever it does later. Errors: kBusy (somebody reads the group already),
  /// kUnsupportedKernel (no nfnetlink_log), kSystem.
  static Result<PacketLog> open(uint16_t group);

  /// Readable when there are messages.
  [[nodiscard]] int fd() const { return socket_.get(); }
  /// Calls `take` with each message (for parse_logged_packet()) that is there, some dozens at most; does not wait.
  /// What does not fit into the socket's room is lost.
  void read(const std::function<void(std::span<const uint8_t>)>& take) const;

 private:
  explicit PacketLog(UniqueFd socket) : socket_(std::move(socket)) {}
  UniqueFd socket_;
};

}  // namespace slicer::netfilter
