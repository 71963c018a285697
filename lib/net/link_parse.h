#pragma once
// Private to lib/net: RTM_NEWLINK and RTM_DELLINK as Link. Pure.

#include "lib/net/link.h"
#include "lib/net/message.h"

namespace slicer::net {

/// Error: kDecode (not a link message, or without a name).
Result<Link> parse_link(nlmsghdr& message);

/// A one-link question: by index, or by name when that is 0; in another namespace when `netnsid` is set.
Message link_question(int index, const std::string& name, std::optional<int> netnsid);

}  // namespace slicer::net
