#pragma once
// Watching a link's frames for what tells a guest's addresses: DHCP and neighbour discovery.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "lib/base/unique_fd.h"
#include "lib/net/netns.h"

namespace slicer::net {

/// A packet socket on one link, both directions, non-blocking. The kernel hands it only IPv4's UDP to ports 67 and 68
/// (no later fragments) and ICMPv6 133, 135 and 136 without extension headers: other traffic costs a dozen
/// instructions. Errors: kUnsupportedKernel (no packet sockets), kSystem.
Result<UniqueFd> watch_address_frames(const Netns& ns, int link);

struct WatchedFrame {
  size_t length = 0;      ///< of what `buffer` holds; a longer frame is cut
  bool outgoing = false;  ///< the link sent it; false: it came in by it
  bool down = false;  ///< no frame: the link went down or away. Told once each time; the socket goes on when it is up
};
/// The next frame; none: there is none now.
Result<std::optional<WatchedFrame>> read_frame(int socket, std::span<uint8_t> buffer);

}  // namespace slicer::net
