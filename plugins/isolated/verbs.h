#pragma once
// The verbs of slicer-isolated.

#include "lib/cni/plugin_main.h"
#include "plugins/isolated/call.h"

namespace slicer::isolated {

Result<cni::CniResult> add(const cni::Request& request);
/// ADD of an attachment that stands, with its own result (`slicer-run network reload`): only what the network and all
/// isolated ones share.
Result<cni::CniResult> repeat(Call& call);
Result<void> del(const cni::Request& request);
Result<void> check(const cni::Request& request);
Result<void> gc(const cni::Request& request);
Result<void> status(const cni::Request& request);

/// Never: there would be nothing between the VM and the host.
bool accepts_host_netns(const cni::Request& request);

}  // namespace slicer::isolated
