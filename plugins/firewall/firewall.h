#pragma once
// The verbs of slicer-firewall. Rules belong to the network and stay until `slicer-run network rm`; a VM has elements
// of a map when its lists are its own, proxy entries on a segregated bridge, and what stands in its own namespace.

#include "lib/cni/plugin_main.h"

namespace slicer::firewall {

/// Makes the network's rules stand and hands prevResult on unchanged.
Result<cni::CniResult> add(const cni::Request& request);
/// Removes what is the attachment's: its own lists, proxy entries, openings of the host. Absent is
/// success.
Result<void> del(const cni::Request& request);
/// Error: kMismatch when a rule is gone.
Result<void> check(const cni::Request& request);
Result<void> gc(const cni::Request& request);
/// Error: kUnavailable.
Result<void> status(const cni::Request& request);

}  // namespace slicer::firewall
