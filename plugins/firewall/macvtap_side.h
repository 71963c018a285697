#pragma once
// Lists of an attachment by macvtap: they stand on its egress, in the VM's own namespace.

#include <optional>

#include "lib/cni/attachment.h"
#include "lib/cni/plugin_main.h"
#include "lib/net/netns.h"
#include "lib/netfilter/egress_table.h"
#include "plugins/firewall/config.h"

namespace slicer::firewall {

struct MacvtapSide {
  net::Netns ns;
  netfilter::EgressRules rules;  ///< with the lists of `config`
};

/// None when the attachment has no macvtap in a private namespace; nothing is asked when prevResult has an interface of
/// the host. Error: kInvalidConfig (lists, and a backend that cannot keep them here).
Result<std::optional<MacvtapSide>> find_macvtap_side(const cni::Request& request, const cni::Attachment& attachment,
                                                     const Config& config);

/// Puts the lists in the place of those that stand, in one transaction; takes the table away when nothing is closed.
Result<void> ensure_macvtap_lists(const MacvtapSide& side);
/// Error: kMismatch.
Result<void> check_macvtap_lists(const MacvtapSide& side);

/// DEL: the attachment's table. Absent is success; nothing is asked where it cannot be.
Result<void> remove_macvtap_lists(const cni::Request& request, const cni::Attachment& attachment);
/// GC: tables of the network whose attachment is not in the list, in all namespaces that are bound to a name.
Result<void> remove_stale_macvtap_lists(const std::string& network, const std::vector<cni::ValidAttachment>& valid);

}  // namespace slicer::firewall
