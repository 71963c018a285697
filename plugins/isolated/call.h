#pragma once
// What the verbs share of one call: its configuration, names and open namespaces.

#include <optional>
#include <string>
#include <vector>

#include "lib/cni/attachment.h"
#include "lib/cni/plugin_main.h"
#include "lib/net/sandbox.h"
#include "lib/netfilter/isolation.h"
#include "plugins/isolated/config.h"

namespace slicer::isolated {

struct Call {
  const cni::Request& request;
  Config config;
  cni::Attachment attachment;
  net::RouteSocket host;
  std::string machine_id = {};               ///< read once
  std::optional<net::Sandbox> sandbox = {};  ///< absent: none at all (DEL, GC, STATUS)
  /// Where this ADD's rules go: never kAuto once ensure_host_rules() has been called.
  netfilter::BackendName place = netfilter::BackendName::kAuto;
  std::optional<bool> legacy_tables = {};  ///< has_legacy_tables(), asked once by ADD

  /// The ends of the veth pair: on the host, and in the namespace.
  [[nodiscard]] std::string host_end() const { return attachment.kernel_name('s'); }
  [[nodiscard]] std::string uplink() const { return attachment.kernel_name('u'); }
  [[nodiscard]] netfilter::IsolationOwner rule_owner() const {
    return {.network = attachment.network, .alias = attachment.alias()};
  }
};

/// Checks the configuration, then opens the host's namespace and CNI_NETNS. Errors: as parse_config() and
/// net::Netns::open(); kHostNetns.
Result<Call> open_call(const cni::Request& request);
/// The same for DEL and GC, whose configuration may be broken. The host's own namespace is none for them.
Result<Call> open_cleanup_call(const cni::Request& request);

/// The guest and its block.
struct GuestPlan {
  addr::Mac mac = {};
  addr::Ip ip = {};
  addr::Ip gateway = {};
  unsigned prefix = 30;
};

/// A stable MAC for one of the attachment's own links; `role` tells them apart.
addr::Mac device_mac(const Call& call, const char* role);

/// kMismatch: "check <what>: <cause>".
std::unexpected<Error> mismatch(const std::string& what, const std::string& cause);

}  // namespace slicer::isolated
