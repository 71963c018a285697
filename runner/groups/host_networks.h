#pragma once
// Which networks this host has, for `slicer-run new`.

#include "runner/groups/template.h"

namespace slicer::runner {

/// The LAN, and a /24 of 192.168.0.0/16 that is free here: the search begins where the group's name hashes to, so two
/// groups made before either is up rarely meet. Needs no rights. Errors: kSystem.
Result<HostNetworks> look_at_networks(const std::string& group);

}  // namespace slicer::runner
