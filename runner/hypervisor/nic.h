#pragma once
// A VM's network device on its way to a hypervisor, by the way that the hypervisor takes.

#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"
#include "lib/net/link.h"
#include "lib/net/netns.h"
#include "runner/hypervisor/device_view.h"
#include "runner/hypervisor/kinds.h"

namespace slicer::runner {

struct Nic {
  std::string name = {};  ///< in its namespace
  std::string mac = {};   ///< the guest's
  unsigned mtu = 0;       ///< in bytes, told to the guest; 0: not
  /// Attached to it, with a virtio-net header; not valid: the hypervisor opens it by its name.
  UniqueFd tap = {};
  std::vector<ShownDevice> devices = {};  ///< what the name is opened by
  UniqueFd netns = {};                    ///< where the hypervisor is to run; not valid: where its supervisor does
};

/// Opens a VM's TAP or macvtap for a hypervisor, or says how it is found by name. A macvtap's device is opened here
/// alone, and only once: a second descriptor gets a share of the guest's packets.
Result<Nic> hand_over(const HypervisorKind& kind, const net::Netns& sandbox, const net::Link& link);

}  // namespace slicer::runner
