#pragma once
// The nftables backend.

#include <memory>
#include <string>

#include "lib/netfilter/backend.h"

namespace slicer::netfilter {

std::unique_ptr<Backend> make_nftables_backend();

/// Has the network rules in table `inet slicer`? One question.
Result<bool> is_network_in_nftables(const std::string& network);

/// Parts of a network's rules that would go on working beside those of another backend.
struct NetworkParts {
  bool masquerade = false;
  bool policy = false;
  bool forward = false;      ///< the legacy tables' alone: nftables keeps it for networks of both
  bool within = false;       ///< portIsolation; of a routed network: isolated VMs out
  bool segregation = false;  ///< what a segregated bridge needs beside the lists
};
/// Which of them stand in table `inet slicer`. One question.
Result<NetworkParts> parts_in_nftables(const std::string& network);
/// Takes the chains of these parts away, but for the policy's. Absent ones are success.
Result<void> remove_nft_parts(const std::string& network, const NetworkParts& parts);

}  // namespace slicer::netfilter
