#pragma once
// Which addresses an attachment gets. All or none; the store does the keeping.

#include <functional>
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

/// What decides, beside the store, which addresses are given.
struct Search {
  /// Does somebody outside of the store use it? Such an address is left out, and held back in the store so that the
  /// next search does not meet it again.
  std::function<Result<bool>(const addr::Ip&)> in_use = {};
  /// An exhausted pool deserves a second look at what is held back.
  bool second_look = true;
};

struct AllocationRequest {
  Owner owner = {};
  const std::vector<Pool>& pools;
  std::vector<addr::Ip> requested = {};
  Search search = {};
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
