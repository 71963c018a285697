#pragma once
// Lists of an isolated attachment: they stand in the VM's own namespace, with what is closed there anyway.

#include <optional>

#include "lib/cni/attachment.h"
#include "lib/cni/plugin_main.h"
#include "lib/net/netlink.h"
#include "lib/netfilter/isolation.h"
#include "lib/netfilter/ruleset.h"
#include "plugins/firewall/config.h"

namespace slicer::firewall {

/// An isolated attachment: its namespace has slicer-isolated's table with this attachment's mark.
struct IsolatedSide {
  netfilter::VmTable table;
  netfilter::VmTableRules rules = {};  ///< with the lists of `config`, or without any
  std::vector<addr::Ip> opened = {};   ///< addresses of the host (or of 169.254.0.0/16) that an allow entry names
};

/// None when the attachment is not isolated: one question for attachments in a private namespace that have a host end
/// of slicer-isolated's, nothing for others. Errors: kMismatch (host end, but no table).
Result<std::optional<IsolatedSide>> find_isolated_side(const cni::Request& request, const cni::Attachment& attachment,
                                                       net::RouteSocket& host, const Config& config);

/// Puts the table with the lists in the place of the one that stands, in one transaction, and the openings of the host.
/// On an error the table is the one that stood, and nothing is opened.
Result<void> ensure_isolated_lists(IsolatedSide& side);
/// Error: kMismatch.
Result<void> check_isolated_lists(IsolatedSide& side);

/// What the host's FORWARD needs: all isolated links, so that it is the same for every VM.
netfilter::NetworkRules isolated_rules(const std::string& network, const std::vector<addr::Ip>& guests);

/// DEL and GC: the openings; the table goes with slicer-isolated's DEL. None is success, and costs one question;
/// nothing is asked when prevResult says that the attachment is none of slicer-isolated's.
Result<void> close_isolated(const cni::Request& request, const cni::Attachment& attachment);
Result<void> close_stale_isolated(const std::string& network, const std::vector<cni::ValidAttachment>& valid);

}  // namespace slicer::firewall
