#pragma once
// The local end of a forward.

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"
#include "runner/forward/forward_spec.h"

namespace slicer::runner {

/// A bound socket; of TCP and unix sockets, one that listens.
struct Bound {
  UniqueFd socket = {};
  uint16_t port = 0;  ///< of a unix socket: 0
};

/// A unix socket (0600) that nobody listens on any more is replaced. Errors: kBusy (in use), kExists (the path is
/// something else), kSystem.
Result<Bound> bind_listener(const ForwardSpec& spec);

}  // namespace slicer::runner
