#pragma once
// The iptables backend: legacy tables by libiptc (docs/slicer-firewall.md, "iptables").

#include <memory>
#include <string>

#include "lib/netfilter/backend.h"

namespace slicer::netfilter {

std::unique_ptr<Backend> make_iptables_backend();

}  // namespace slicer::netfilter
