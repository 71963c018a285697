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
};
/// Which of them stand in table `inet slicer`. One question.
Result<NetworkParts> parts_in_nftables(const std::string& network);
Result<void> remove_nft_masquerade(const std::string& network);

}  // namespace slicer::netfilter
