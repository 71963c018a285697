#pragma once
// What the verbs share of one call: its configuration, names and open namespace.

#include <optional>
#include <string>
#include <vector>

#include "lib/cni/attachment.h"
#include "lib/cni/plugin_main.h"
#include "lib/net/link.h"
#include "lib/net/sandbox.h"
#include "plugins/tap/config.h"

namespace slicer::tap {

struct Call {
  const cni::Request& request;
  Config config;
  cni::Attachment attachment;
  std::optional<net::Sandbox> sandbox = {};  ///< absent: none at all (DEL, GC, STATUS)

  /// Of what is made in the namespace; none in the host's own, whose groups are the administrator's.
  [[nodiscard]] uint32_t link_group() const { return request.host_netns ? 0 : attachment.group(); }
};

/// Checks the configuration, then opens CNI_NETNS. Errors: as parse_config() and net::Netns::open().
Result<Call> open_call(const cni::Request& request);
/// The same for DEL and GC, whose configuration may be broken.
Result<Call> open_cleanup_call(const cni::Request& request);

/// One call at a time works on a namespace: released when the call's sandbox is closed. Error: kBusy.
Result<void> lock_sandbox(Call& call);

/// TAPs of this attachment in the namespace, by their alias; there is one at most, but for what others do.
Result<std::vector<net::Link>> list_own_taps(Call& call);

/// A stable MAC for the attachment's own end.
addr::Mac device_mac(const Call& call);

/// kMismatch: "check <what>: <cause>".
std::unexpected<Error> mismatch(const std::string& what, const std::string& cause);

}  // namespace slicer::tap
