#pragma once
// The nftables backend.

#include <memory>
#include <string>

#include "lib/netfilter/backend.h"
#include "lib/netfilter/network_parts.h"

namespace slicer::netfilter {

std::unique_ptr<Backend> make_nftables_backend();

/// Has the network rules in table `inet slicer`? One question.
Result<bool> is_network_in_nftables(const std::string& network);

/// Which of them stand in table `inet slicer`. One question.
Result<NetworkParts> parts_in_nftables(const std::string& network);
/// Takes the chains of these parts away, but for the policy's. Absent ones are success.
Result<void> remove_nft_parts(const std::string& network, const NetworkParts& parts);

}  // namespace slicer::netfilter
