#pragma once
// Where allocations are kept. The allocator knows only this; today it is a directory of this host, a store shared by
// several machines can stand here too.

#include <optional>
#include <string>
#include <vector>

#include "lib/addr/ip.h"
#include "lib/base/result.h"

namespace slicer::ipam {

/// Who holds an address.
struct Owner {
  std::string network = {};
  std::string container_id = {};
  std::string ifname = {};
};

/// One allocation, as GC sees it.
struct Allocation {
  addr::Ip ip = {};
  Owner owner = {};
};

/// An open store is an exclusive session: between its methods nobody else allocates or releases.
class Store {
 public:
  Store() = default;
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  virtual ~Store() = default;

  /// The addresses that `owner` holds; none is an empty list. Constant time.
  virtual Result<std::vector<addr::Ip>> find(const Owner& owner) = 0;
  /// The lowest of first, first + stride, … ≤ last that nobody holds. Constant time.
  virtual Result<std::optional<addr::Ip>> next_free(const addr::IpRange& range, unsigned stride) = 0;
  /// Reserves `ip`. False: somebody holds it. Errors: kSystem (read-only, full); nothing has been reserved then.
  virtual Result<bool> reserve(const Owner& owner, const addr::Ip& ip) = 0;
  /// Gives an address back that find() or allocations() named; gone already is success.
  virtual Result<void> release(const Owner& owner, const addr::Ip& ip) = 0;
  /// Somebody outside of the store uses `ip`: next_free() leaves it out until refresh(), or as long as the store cares
  /// to remember.
  virtual Result<void> hold_back(const addr::Ip& ip) = 0;
  /// The address that range set `set` gave last; absent when unknown.
  virtual std::optional<addr::Ip> last_reserved(size_t set) = 0;
  virtual Result<void> set_last_reserved(size_t set, const addr::Ip& ip) = 0;
  /// Everything held by owners of `network` whose container ID and interface name are known. Linear time.
  virtual Result<std::vector<Allocation>> allocations(const std::string& network) = 0;
  /// True when addresses are held back without a known owner, so that an exhausted pool deserves a second look.
  virtual bool has_doubts() = 0;
  /// Looks at everything anew, forgetting what was cached. Linear time.
  virtual Result<void> refresh() = 0;
};

}  // namespace slicer::ipam
