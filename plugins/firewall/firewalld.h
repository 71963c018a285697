#pragma once
// "backend": "firewalld": the addresses of a network's VMs are sources of a zone of firewalld's, as with upstream's
// plugin; permanent ones, so that they are there after a reload of firewalld.
//
// A permanent source outlives the host's next boot, and nothing in it tells whose it is: so each attachment has a small
// record below /var/lib/slicer/firewalld/<boot id>. What belongs to another boot is taken back by the next ADD, DEL or
// GC with this backend; so is what a DEL could not take back because firewalld did not run.

#include <string>
#include <vector>

#include "lib/addr/ip.h"
#include "lib/cni/attachment.h"
#include "lib/cni/net_conf.h"

namespace slicer::firewall {

/// Puts the addresses into the zone.
/// @return whether anything was new: what an ADD that fails takes back
/// Errors: those of ZoneBus, kExists (an address is in another zone).
Result<bool> enter_zone(const cni::Attachment& attachment, const std::string& zone,
                        const std::vector<addr::Ip>& guests);
/// CHECK. Error: kMismatch.
Result<void> check_zone(const std::string& zone, const std::vector<addr::Ip>& guests);

/// DEL: what the record names; firewalld that does not run is success, too.
/// @return whether there was a record: to find none costs one question to the file system
Result<bool> leave_zone(const cni::Attachment& attachment);
/// DEL of an attachment that upstream's plugin made: the addresses of prevResult, but for those that a record names:
/// they are somebody else's by now.
Result<void> leave_zone(const std::string& zone, const std::vector<addr::Ip>& guests);
/// GC: the same for attachments of the network that are not in the list.
Result<void> leave_stale_zones(const std::string& network, const std::vector<cni::ValidAttachment>& valid);

/// STATUS. Error: kUnavailable.
Result<void> probe_zone(const std::string& zone);

}  // namespace slicer::firewall
