#pragma once
// Rules that upstream's bridge, ptp and firewall plugins made for an attachment before slicer-bridge took it over.

#include "plugins/bridge/call.h"

namespace slicer::bridge {

/// DEL: of this attachment; GC: of those that the list lacks. Before the addresses are given back: whoever gets one
/// next would be let through by them. Nothing there is success.
Result<void> delete_upstream_rules(const Call& call);

}  // namespace slicer::bridge
