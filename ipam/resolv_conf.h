#pragma once
// resolv.conf(5) as the DNS part of a result.

#include <string_view>

#include "lib/cni/result_types.h"

namespace slicer::ipam {

/// nameserver, domain, search, options; other lines are skipped, as resolvers do.
cni::Dns parse_resolv_conf(std::string_view text);

}  // namespace slicer::ipam
