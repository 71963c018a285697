#pragma once
// The verbs of slicer-firewall. All it makes belongs to the network and stays until `slicer-run network rm`; nothing is
// made for a single VM.

#include "lib/cni/plugin_main.h"

namespace slicer::firewall {

/// Makes the network's rules stand and hands prevResult on unchanged.
Result<cni::CniResult> add(const cni::Request& request);
/// Nothing of the attachment's is here: always success.
Result<void> del(const cni::Request& request);
/// Error: kMismatch when a rule is gone.
Result<void> check(const cni::Request& request);
Result<void> gc(const cni::Request& request);
/// Error: kUnavailable.
Result<void> status(const cni::Request& request);

}  // namespace slicer::firewall
