#pragma once
// The backend that a configuration asks for, and what goes with it on a host where both have something to say.

#include <memory>

#include "lib/netfilter/backend.h"

namespace slicer::netfilter {

/// New rules go to the named backend; kAuto: to nftables, unless other programs keep rules in the legacy tables. A
/// network stays where its rules are already. On either:
///   a network in nftables is let through a legacy FORWARD that drops (Docker, ufw on the old iptables), one in the
///   legacy tables through that of iptables-nft;
///   the set of bridges that isolated VMs must not reach is in nftables;
///   removal, of a network or of a VM's policy, is from both.
/// On a host without legacy tables this is the nftables backend, and two files of /proc.
std::unique_ptr<Backend> make_chosen_backend(BackendName name, std::optional<bool> legacy_tables = {});

}  // namespace slicer::netfilter
