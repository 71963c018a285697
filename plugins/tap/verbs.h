#pragma once
// The verbs of slicer-tap.

#include "lib/cni/plugin_main.h"

namespace slicer::tap {

Result<cni::CniResult> add(const cni::Request& request);
Result<void> del(const cni::Request& request);
Result<void> check(const cni::Request& request);
Result<void> gc(const cni::Request& request);
Result<void> status(const cni::Request& request);

/// Not unless CNI_NETNS_OVERRIDE says so: what is followed is a container's.
bool accepts_host_netns(const cni::Request& request);

}  // namespace slicer::tap
