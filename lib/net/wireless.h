#pragma once
// Links with a radio: an access point takes only frames from the one address that has joined it.

#include "lib/base/result.h"
#include "lib/net/link.h"
#include "lib/net/netns.h"

namespace slicer::net {

/// Whether `link` of `ns` is wireless, by that namespace's own sysfs. Error: kSystem.
Result<bool> is_wireless(const Netns& ns, const Link& link);

/// The same by the descriptor of a sysfs that shows the link's namespace.
bool is_wireless_in(int sysfs, const std::string& name);

}  // namespace slicer::net
