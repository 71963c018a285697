#pragma once
// The way of a VM's packets through the kernel, link by link.

#include <string>

#include "lib/base/result.h"
#include "lib/net/netlink.h"
#include "runner/state/vm_record.h"

namespace slicer::runner {

/// What a VM's links hang on in the host's namespace.
enum class AnchorKind {
  kNone,    ///< nothing: the VM has no link (it does not run, or its link is gone)
  kBridge,  ///< a bridge, or another master
  kParent,  ///< the parent of a macvtap
  kRouted,  ///< the host routes to the link itself (isolated, ptp)
};
/// "none", "bridge", "parent", "routed"
const char* anchor_name(AnchorKind kind);

struct VmPath {
  std::string tap = {};         ///< as the guest's device; empty: there is none
  std::string tap_kind = {};    ///< "tap", "macvtap"
  std::string mode = {};        ///< a macvtap's: "bridge", "vepa", "private", "passthru"
  unsigned mtu_bytes = 0;       ///< of the TAP
  bool up = false;              ///< the TAP
  std::string netns = {};       ///< the name of the VM's namespace; empty: the TAP is in the host's
  std::string inner_veth = {};  ///< the end of a veth pair in there; empty: none
  std::string host_link = {};   ///< on the host: the TAP itself, or the other end of the pair; empty: none
  AnchorKind anchor_kind = AnchorKind::kNone;
  std::string anchor = {};  ///< the bridge's or parent's name; kRouted: empty
};

/// Looks a VM's links up by what its record names; `host` is the host's namespace. What is not there is left empty.
/// Error: kSystem.
Result<VmPath> trace_vm(net::RouteSocket& host, const VmRecord& record);

}  // namespace slicer::runner
