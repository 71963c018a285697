#pragma once
// The five verbs of slicer-ipam, called by its own main() and, in process, by client.h.

#include "ipam/allocator.h"
#include "lib/cni/plugin_main.h"

namespace slicer::ipam::verbs {

Result<cni::CniResult> add(const cni::Request& request);
Result<cni::CniResult> add_checked(const cni::Request& request, const Search& search);
/// Releases `ip`, which the request's attachment holds, and holds it back.
Result<void> give_up(const cni::Request& request, const addr::Ip& ip);
Result<void> del(const cni::Request& request);
Result<void> check(const cni::Request& request);
Result<void> gc(const cni::Request& request);
/// Of a GC with a list: all that it lacks; else what the request's attachment holds.
Result<std::vector<addr::Ip>> find_leaving(const cni::Request& request);
Result<void> status(const cni::Request& request);

}  // namespace slicer::ipam::verbs
