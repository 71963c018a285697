#pragma once
// The nftables backend.

#include <memory>
#include <string>

#include "lib/netfilter/backend.h"

namespace slicer::netfilter {

std::unique_ptr<Backend> make_nftables_backend();

/// Has the network rules in table `inet slicer`? One question.
Result<bool> is_network_in_nftables(const std::string& network);

}  // namespace slicer::netfilter
