#pragma once
// TAP devices: made by /dev/net/tun, for one hypervisor.

#include <cstdint>
#include <optional>
#include <string>

#include "lib/addr/mac.h"
#include "lib/base/unique_fd.h"
#include "lib/net/netlink.h"
#include "lib/net/netns.h"

namespace slicer::net {

struct TapSpec {
  std::string name = {};  ///< empty: the first free "tapN"
  std::string alias = {};
  std::optional<addr::Mac> mac = {};
  unsigned mtu_bytes = 0;                    ///< 0: the kernel's default
  int master = 0;                            ///< index of a bridge; 0: none
  uint32_t link_group = 0;                   ///< IFLA_GROUP; 0: the default group
  std::optional<uint32_t> owner = 0;         ///< uid that may open it; without this and the next any uid could
  std::optional<uint32_t> owner_group = {};  ///< gid that may open it; with both it takes both
  /// Several queues, for a hypervisor that opens it as often. One that wants a single one may fail on such a TAP.
  bool multi_queue = false;
  /// That it is made with; empty: the caller's. The program answers for itself in main() (tap_label.h).
  std::string selinux_label = {};
  bool up = true;
  bool no_ipv6_link_local = false;  ///< no fe80 address of the host on it
  bool ipv4_forwarding = false;     ///< LinkChange::ipv4_forwarding
};
/// Makes a persistent TAP in `ns` (nullptr: the calling thread's namespace), to which `session` must belong. Persistent
/// only when it is complete, so a process killed half way leaves none. @return its index.
/// Errors: kExists (the name is in use), kUnsupportedKernel (no /dev/net/tun), kExhausted (the bridge is full),
/// kSystem; name_tap_as()'s.
Result<int> create_tap(const Netns* ns, RouteSocket& session, const TapSpec& spec);

/// Opens a queue of a persistent TAP, as a hypervisor does (TAP, no packet information, virtio-net header).
/// Errors: kNotFound, kBusy (a hypervisor has its only queue), kSystem.
Result<UniqueFd> open_tap(const Netns* ns, const std::string& name);

/// Whether create_tap() could work: /dev/net/tun opens. Error: kUnsupportedKernel with what to do.
Result<void> check_tun_device();

}  // namespace slicer::net
