#pragma once
// From what IPAM gave to what the guest is told, and the gateway's address on the bridge.

#include "lib/base/undo.h"
#include "plugins/bridge/bridge_device.h"

namespace slicer::bridge {

/// Pure: gateways where isGateway wants them (none from IPAM: the subnet's first address), default routes where
/// isDefaultGateway does, the configuration's dns over IPAM's. Errors: kInvalidConfig (two addresses of one family for
/// a VM, an MTU below IPv6's least).
Result<cni::CniResult> plan_result(cni::CniResult from_ipam, const Config& config);

/// The gateway addresses of a planned result with their prefix length; empty unless isGateway.
std::vector<addr::Cidr> gateway_addresses(const cni::CniResult& result, const Config& config);

/// Puts each on the bridge. One that stands is left alone; another IPv4 address, or an IPv6 one of an overlapping
/// subnet, is an error (kExists), or with forceAddress replaced.
Result<void> ensure_gateway(Call& call, const Bridge& bridge, const std::vector<addr::Cidr>& gateways, Undo& undo);

/// CHECK. Error: kMismatch.
Result<void> check_gateway(Call& call, const Bridge& bridge, const std::vector<addr::Cidr>& gateways);

}  // namespace slicer::bridge
