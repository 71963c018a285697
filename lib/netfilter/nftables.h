#pragma once
// The nftables backend.

#include <memory>

#include "lib/netfilter/backend.h"

namespace slicer::netfilter {

std::unique_ptr<Backend> make_nftables_backend();

}  // namespace slicer::netfilter
