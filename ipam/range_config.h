#pragma once
// One range of the configuration: "subnet", "rangeStart", "rangeEnd", "gateway", and ours: "range", "addresses", and a
// gateway with a prefix length alone.

#include <vector>

#include "ipam/pool.h"
#include "lib/cni/json.h"

namespace slicer::ipam {

/// True when the object says anything that makes a range: a subnet, a range, addresses, or a gateway with prefix
/// length.
bool describes_range(const cni::Json& object);

/// The segments of one range object; `block` is 30 or 0. Errors: kInvalidConfig with key and value.
Result<std::vector<Segment>> parse_range(const cni::Json& object, unsigned block);

}  // namespace slicer::ipam
