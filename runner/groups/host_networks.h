#pragma once
// Which networks this host has: for `slicer-run new`, and for groups that leave the choice to us.

#include <span>

#include "runner/groups/template.h"

namespace slicer::runner {

/// The LAN, and a free /24 as find_free_subnet() finds it. Needs no rights. Errors: kSystem.
Result<HostNetworks> look_at_networks(const std::string& group, std::span<const addr::Cidr> taken);

/// A /24 of 192.168.0.0/16, or else of 172.16.0.0/12, to which the host has no route and that is none of `taken`. The
/// search begins where the group's name hashes to, so two groups rarely meet. None: all are in use. Error: kSystem.
Result<std::optional<addr::Cidr>> find_free_subnet(const std::string& group, std::span<const addr::Cidr> taken);

/// No route but a default one decides about any address of the subnet, unless it is the one of link `own`.
Result<bool> is_free_subnet(const addr::Cidr& subnet, const std::string& own);

}  // namespace slicer::runner
