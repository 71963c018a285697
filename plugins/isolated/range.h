#pragma once
// Which blocks a network without "range" takes. Pure.

#include <string>
#include <vector>

#include "lib/addr/ip.h"

namespace slicer::isolated {

/// The /22 networks of 169.254.0.0/16 in the order in which `network` tries them: the one that its name hashes to
/// first. None that holds 169.254.0.0/24 or 169.254.255.0/24 (RFC 3927, section 2.1) or the clouds' metadata service,
/// 169.254.169.254. The same on every machine and in every release (tests/unit/plugins/isolated/range_test.cc).
std::vector<addr::Cidr> default_ranges(const std::string& network);

/// A range that an administrator may give: IPv4, no host bits, /30 or shorter, of unicast addresses that can be routed.
/// Error: kInvalidConfig; the caller names the key.
Result<addr::Cidr> parse_block_range(const std::string& text);

}  // namespace slicer::isolated
