#pragma once
// What an IPAM gave, as the kernel takes it.

#include "lib/cni/result_types.h"
#include "lib/net/route.h"

namespace slicer::ipam {

/// A route of `result` by `device`, with all that version 1.1.0 says of it (SPEC.md, section 5, "ADD Success").
net::Route kernel_route(const cni::Route& route, const cni::CniResult& result, int device);

bool has_ipv6(const cni::CniResult& result);

}  // namespace slicer::ipam
