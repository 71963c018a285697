#pragma once
// What the kernel knows about an address whose allocation file says nothing.

#include "lib/addr/ip.h"

namespace slicer::ipam {

/// Has this network namespace a /32 (/128) route to `ip`, or a permanent neighbour entry for it on the link by which it
/// would be reached? Errors: kSystem.
Result<bool> in_use_by_host(const addr::Ip& ip);

}  // namespace slicer::ipam
