#pragma once
// The verbs of slicer-bridge.

#include "lib/cni/plugin_main.h"

namespace slicer::bridge {

Result<cni::CniResult> add(const cni::Request& request);
Result<void> del(const cni::Request& request);
Result<void> check(const cni::Request& request);
Result<void> gc(const cni::Request& request);
Result<void> status(const cni::Request& request);

/// A container's interface is never put into the host's own namespace; a TAP may be.
bool accepts_host_netns(const cni::Request& request);

}  // namespace slicer::bridge
