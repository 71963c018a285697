#pragma once
// What the verbs share of one call: its configuration, names and open namespaces.

#include <optional>
#include <string>
#include <vector>

#include "lib/cni/attachment.h"
#include "lib/cni/plugin_main.h"
#include "lib/net/sandbox.h"
#include "plugins/macvtap/config.h"

namespace slicer::macvtap {

struct Call {
  const cni::Request& request;
  Config config;
  cni::Attachment attachment;
  net::RouteSocket host;
  std::vector<addr::Ip> requested = {};      ///< addresses asked for from slicer-ipam
  std::optional<net::Sandbox> sandbox = {};  ///< absent: none at all (DEL, GC, STATUS)
};

/// Checks the configuration, slicer-ipam's too, then opens the host's namespace and CNI_NETNS. Errors: as
/// parse_config() and net::Netns::open(); kHostNetns.
Result<Call> open_call(const cni::Request& request);
/// The same for DEL and GC, whose configuration may be broken. The host's own namespace is none for them.
Result<Call> open_cleanup_call(const cni::Request& request);

/// The guest as the LAN sees it.
struct GuestPlan {
  addr::Mac mac = {};
  std::vector<addr::Ip> ips = {};  ///< none: the LAN's DHCP server gives them
};

/// kMismatch: "check <what>: <cause>".
std::unexpected<Error> mismatch(const std::string& what, const std::string& cause);

}  // namespace slicer::macvtap
