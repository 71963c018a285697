#pragma once
// The verbs of slicer-macvtap.

#include "lib/cni/plugin_main.h"

namespace slicer::macvtap {

Result<cni::CniResult> add(const cni::Request& request);
Result<void> del(const cni::Request& request);
Result<void> check(const cni::Request& request);
Result<void> gc(const cni::Request& request);
Result<void> status(const cni::Request& request);

/// Never: the parent is there already, and a macvtap beside it would be one more link of the host's.
bool accepts_host_netns(const cni::Request& request);

}  // namespace slicer::macvtap
