#pragma once
// Which proxy neighbour entries are an attachment's: an entry itself has no room for an owner, and nothing else on the
// host tells it once the VM's namespace is gone. One small file for each attachment with IPv6 on a segregated bridge,
// below /run, where it is gone with the entries at the host's next boot.

#include <string>
#include <vector>

#include "lib/addr/ip.h"
#include "lib/cni/attachment.h"
#include "lib/cni/net_conf.h"
#include "lib/net/netlink.h"

namespace slicer::firewall {

/// Before the entries are made: a call that is killed in between leaves a record that DEL and GC know. One that stands
/// is replaced; nothing is written without IPv6 addresses.
/// @return whether there was none
Result<bool> write_proxy_record(const cni::Attachment& attachment, const std::string& link,
                                const std::vector<addr::Ip>& guests);
Result<void> delete_proxy_record(const cni::Attachment& attachment);

/// DEL: the entries of the record, then the record. None is success.
Result<void> remove_recorded_proxies(const cni::Attachment& attachment);
/// GC: the same for attachments of the network that are not in the list.
Result<void> remove_stale_proxies(const std::string& network, const std::vector<cni::ValidAttachment>& valid);

}  // namespace slicer::firewall
