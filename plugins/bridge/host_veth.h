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
/// The same of a link that is known: up, and a port of the bridge.
Result<void> check_host_port(const net::Link& link, const Bridge& bridge, const std::string& bridge_name);

/// Is there a host's end that ADD of this attachment made?
Result<bool> has_host_end(Call& call);

/// Everything of this attachment in CNI_NETNS (the host's end dies with it). No CNI_NETNS, or nothing there: success.
Result<void> delete_inside(Call& call);
/// The host's end, where it is still there, and through it what is left in a namespace that nobody named.
Result<void> delete_host_end(Call& call);

/// The same for a pair of any attachment of the network (GC), known by the host's end.
Result<void> delete_pair(net::RouteSocket& host, const net::Link& host_end, uint32_t group);

}  // namespace slicer::bridge
