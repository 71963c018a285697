#pragma once
// macvtaps: a link on a LAN interface and a character device at once; what the one receives, who has opened the other
// reads.

#include <cstdint>
#include <optional>
#include <string>

#include "lib/addr/mac.h"
#include "lib/base/unique_fd.h"
#include "lib/net/netlink.h"
#include "lib/net/netns.h"

namespace slicer::net {

/// What a macvtap shares with the others of its parent. Values: MACVLAN_MODE_* of include/uapi/linux/if_link.h.
enum class MacvlanMode : uint32_t { kPrivate = 1, kVepa = 2, kBridge = 4, kPassthru = 8 };

struct MacvtapSpec {
  std::string name = {};
  int parent = 0;  ///< index in the creating session's namespace
  MacvlanMode mode = MacvlanMode::kBridge;
  std::optional<addr::Mac> mac = {};  ///< passthru: the kernel takes the parent's whatever is given
  unsigned mtu_bytes = 0;             ///< 0: the parent's
  uint32_t group = 0;                 ///< by it the owner is known before the alias is there
};

/// Makes a macvtap straight in `ns`, down, by one RTM_NEWLINK through `host`, the session of the parent's namespace.
/// Errors: kExists (the name is in use there), kNotFound (no such parent), kBusy (the parent is passed through, or has
/// macvtaps and is to be passed through, or is another driver's), kUnsupportedKernel (no macvtap), kSystem.
Result<void> create_macvtap(RouteSocket& host, const Netns& ns, const MacvtapSpec& spec);

/// Alias, no IPv6 of the namespace's own, up, open to every multicast group: in one send. `session` is of the macvtap's
/// namespace. Error: kExists (a link of that parent has this MAC).
Result<void> raise_macvtap(RouteSocket& session, int index, const std::string& alias);

/// Opens the character device of the macvtap `name` in `ns`, as a hypervisor's backend (TAP, no packet information,
/// virtio-net header of 10 bytes). Only for the one hypervisor: a second descriptor gets a share of the guest's
/// packets.
///
/// The device is found by its number in that namespace's sysfs, never by /dev/tapN, of which two namespaces can have
/// the same. Sysfs and the node stand on mounts of their own that no path leads to, so that nothing can stay behind.
/// Errors: kNotFound (no such link, or no macvtap), kSystem.
Result<UniqueFd> open_macvtap(const Netns& ns, const std::string& name);

/// Where that device is: what a node of it is made with. Errors: as open_macvtap().
struct DeviceNumber {
  unsigned major = 0;
  unsigned minor = 0;
};
Result<DeviceNumber> get_macvtap_device(const Netns& ns, const std::string& name);

}  // namespace slicer::net
