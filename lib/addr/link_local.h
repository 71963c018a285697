#pragma once
// IPv6 link-local addresses that interfaces make for themselves.

#include "lib/addr/ip.h"
#include "lib/addr/mac.h"

namespace slicer::addr {

/// The address that a MAC makes, and most guests use (EUI-64: RFC 4291, appendix A).
Ip link_local_of(const Mac& mac);

}  // namespace slicer::addr
