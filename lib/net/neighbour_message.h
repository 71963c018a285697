#pragma once
// Private to lib/net: the request behind ensure_neighbour(), for batches.

#include "lib/net/message.h"
#include "lib/net/neighbour.h"

namespace slicer::net {

/// NLM_F_REPLACE: over what is there. NLM_F_EXCL: kExists when anything is.
Message neighbour_request(const Neighbour& neighbour, int flag);

}  // namespace slicer::net
