#pragma once
// The veth pair between the bridge and a private namespace: the host's end is the port.

#include <vector>

#include "plugins/bridge/bridge_device.h"

namespace slicer::bridge {

struct HostVeth {
  int index = 0;
  std::string name = {};
  addr::Mac mac = {};
};

/// The end in the namespace; it is made down.
struct InnerEnd {
  std::string name = {};
  addr::Mac mac = {};
};

/// Makes the pair, both ends complete and in their namespaces, by one message. Errors: kExists, kExhausted.
Result<HostVeth> add_host_veth(Call& call, const Bridge& bridge, const InnerEnd& inner, unsigned mtu_bytes, Undo& undo);

/// CHECK of the host's end. Error: kMismatch.
Result<net::Link> check_host_veth(Call& call, const Bridge& bridge);

/// Everything of this attachment in its private namespace, and the host's end: by CNI_NETNS where that is there, else
/// through the host's end. Nothing there is success.
Result<void> delete_private(Call& call);

/// The same for a pair of any attachment of the network (GC), known by the host's end.
Result<void> delete_pair(net::RouteSocket& host, const net::Link& host_end, uint32_t group);

}  // namespace slicer::bridge
