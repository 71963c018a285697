#pragma once
// Joins TCP connections of this machine with ports of a guest.

#include <chrono>
#include <functional>
#include <list>
#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"
#include "runner/forward/dialled.h"
#include "runner/forward/forward_spec.h"

struct pollfd;

namespace slicer::runner {

/// Opens a connection to a port of the guest; non-blocking, and perhaps not decided yet.
using Dial = std::function<Result<Dialled>(uint16_t port)>;

class Relay {
 public:
  /// More connections than these wait in the kernel's queue.
  static constexpr size_t kMaxConnections = 256;

  explicit Relay(Dial dial) : dial_(std::move(dial)) {}

  /// Listens from now on. @return the port, which the kernel chose when the spec's was 0. Errors: kBusy (the port is in
  /// use), kSystem.
  Result<uint16_t> listen(const ForwardSpec& spec);

  /// Carries until one of `until` is readable. A connection that fails is told on stderr and ends alone. Half closed
  /// connections stay: what the other end still says gets through.
  void run(const std::vector<int>& until);

 private:
  using Clock = std::chrono::steady_clock;

  struct Listener {
    UniqueFd socket = {};
    uint16_t guest_port = 0;
  };

  /// What came in at one end and is not out at the other yet.
  struct Stream {
    std::string waiting = {};
    bool ended = false;   ///< the sender said its last word
    bool closed = false;  ///< and the receiver knows
  };

  struct Connection {
    UniqueFd client = {};
    UniqueFd guest = {};
    std::function<Result<void>()> confirm = {};
    uint16_t guest_port = 0;
    bool decided = false;  ///< the guest answered
    bool failed = false;
    Clock::time_point deadline = {};  ///< for that
    Stream to_guest = {};
    Stream to_client = {};
    [[nodiscard]] bool is_over() const { return failed || (to_guest.closed && to_client.closed); }
  };

  void accept_one(const Listener& listener);
  void serve(Connection& connection, const pollfd& client, const pollfd& guest) const;
  static void confirm(Connection& connection);
  [[nodiscard]] int wait_limit_ms() const;

  Dial dial_;
  std::vector<Listener> listeners_ = {};
  std::list<Connection> connections_ = {};
};

}  // namespace slicer::runner
