#pragma once
// What the verbs share of one call: its configuration, names and open namespaces.

#include <optional>
#include <string>
#include <vector>

#include "lib/cni/attachment.h"
#include "lib/cni/plugin_main.h"
#include "lib/net/sandbox.h"
#include "plugins/bridge/config.h"

namespace slicer::bridge {

struct Call {
  const cni::Request& request;
  Config config;
  cni::Attachment attachment;
  net::RouteSocket host;
  std::string machine_id = {};
  std::optional<net::Sandbox> sandbox = {};  ///< absent: the host's namespace, or none at all (DEL, GC, STATUS)

  /// Where CNI_IFNAME goes. ADD and CHECK only.
  [[nodiscard]] bool in_host() const { return !sandbox.has_value(); }
};

/// Checks the configuration, then opens the host's namespace and CNI_NETNS. Errors: as parse_config() and
/// net::Netns::open().
Result<Call> open_call(const cni::Request& request);
/// The same for DEL and GC, which must clean up after a configuration that was edited wrongly since the ADD: a key that
/// cannot be read is logged, and only the bridge's name is used.
Result<Call> open_cleanup_call(const cni::Request& request);

/// The guest as the network sees it.
struct GuestPlan {
  addr::Mac mac = {};
  std::vector<addr::Ip> ips = {};  ///< none: layer 2 only
  unsigned mtu_bytes = 0;
};

/// A stable MAC for one of the attachment's own links; `role` tells them apart.
addr::Mac device_mac(const Call& call, const char* role);

/// The entries of a result that a device adds.
struct Attached {
  std::vector<cni::Interface> interfaces = {};
  int guest = 0;  ///< index into `interfaces` of the one that the addresses belong to
};

}  // namespace slicer::bridge
