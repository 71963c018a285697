#pragma once
// The guest's addresses: from IPAM, as long as neither the host nor anybody else on the LAN has them.

#include "lib/base/undo.h"
#include "lib/net/link.h"
#include "plugins/macvtap/call.h"

namespace slicer::macvtap {

/// None without "ipam". The device, which is up, asks the LAN. Undo: gives them back. Errors: as ipam::add(); kExists:
/// an address that was asked for, or that another IPAM gave, is in use.
Result<cni::CniResult> reserve_addresses(Call& call, const net::Link& device, Undo& undo);

}  // namespace slicer::macvtap
