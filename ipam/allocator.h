#pragma once
// Which addresses an attachment gets. All or none; the store does the keeping.

#include <optional>
#include <vector>

#include "ipam/pool.h"
#include "ipam/store.h"

namespace slicer::ipam {

struct Lease {
  addr::Cidr address = {};
  std::optional<addr::Ip> gateway = {};
  friend bool operator==(const Lease&, const Lease&) = default;
};

struct AllocationRequest {
  Owner owner = {};
  const std::vector<Pool>& pools;
  std::vector<addr::Ip> requested = {};
};

/// One address of each pool, in their order: the requested one that lies in it, else the next free one after the last
/// given. Errors: kDuplicate (the owner has one of these pools' already), kExhausted, kExists (a requested address is
/// taken), kInvalidConfig (a requested address that no pool gives), kSystem; nothing has been reserved then.
Result<std::vector<Lease>> allocate(Store& store, const AllocationRequest& request);

/// Gives back everything that the owner holds; nothing held is success.
Result<void> release(Store& store, const Owner& owner);

/// A free address of `pool`, as allocate() would choose. Absent: exhausted.
Result<std::optional<addr::Ip>> find_free(Store& store, const Pool& pool, size_t set);

}  // namespace slicer::ipam
