#pragma once
// Joins ports and sockets of this machine with ports of a guest.

#include <functional>
#include <vector>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"
#include "runner/forward/dialled.h"
#include "runner/forward/forward_spec.h"

namespace slicer::runner {

/// Opens a connection to where the spec leads (TCP), or makes a connected socket to it (UDP): non-blocking, and a
/// connection perhaps not decided yet.
using Dial = std::function<Result<Dialled>(const ForwardSpec& spec)>;

class Relay {
 public:
  /// More connections than these, or than this process may have descriptors for, wait in the kernel's queue.
  static constexpr size_t kMaxConnections = 8192;

  explicit Relay(Dial dial) : dial_(std::move(dial)) {}
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;
  ~Relay();

  /// Listens from now on. @return the port, which the kernel chose when the spec's was 0 (of a unix socket: 0). A unix
  /// socket that nobody listens on any more is replaced; it is removed with this object. Errors: kBusy (the port or
  /// path is in use), kExists (the path is no socket), kSystem.
  Result<uint16_t> listen(const ForwardSpec& spec);

  /// Carries until one of `until` is readable. A connection that fails is told on stderr and ends alone. Half closed
  /// connections stay: what the other end still says gets through. Error: kSystem, before anything is carried.
  Result<void> run(const std::vector<int>& until);

 private:
  friend class RelayRun;
  struct Door {
    ForwardSpec spec = {};
    UniqueFd socket = {};
  };

  Dial dial_;
  std::vector<Door> doors_ = {};
};

}  // namespace slicer::runner
