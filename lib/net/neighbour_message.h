#pragma once
// Private to lib/net: the request behind ensure_neighbour(), for batches.

#include "lib/net/message.h"
#include "lib/net/neighbour.h"

namespace slicer::net {

Message neighbour_request(const Neighbour& neighbour);

}  // namespace slicer::net
