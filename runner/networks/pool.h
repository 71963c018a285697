#pragma once
// A network's addresses, read from its "ipam" section and from the disk layout that host-local and slicer-ipam share
// (docs/ipam-store.md). For people to look at: the plugin itself decides what it gives.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/addr/ip.h"
#include "lib/cni/json.h"
#include "runner/chain/conflist.h"

namespace slicer::runner {

/// The addresses that a host-local or slicer-ipam section may give.
struct Pool {
  std::string ipam = {};  ///< its type
  std::string data_dir = "/var/lib/cni/networks";
  bool blocks = false;  ///< "block": 30: one address per /30, all networks in one store
  std::vector<addr::IpRange> ranges = {};
  std::vector<addr::Cidr> subnets = {};
  std::vector<addr::Ip> gateways = {};
  std::vector<std::string> routes = {};  ///< "0.0.0.0/0 via 192.0.2.1"

  [[nodiscard]] bool contains(const addr::Ip& ip) const;
  /// Addresses that can be given out, gateways not counted; UINT64_MAX: that many or more.
  [[nodiscard]] uint64_t capacity() const;
};

/// The pool of the chain's first plugin that has one; none when its IPAM is another program's (dhcp, static, …).
/// Errors: kInvalidConfig with the key.
Result<std::optional<Pool>> find_pool(const chain::Conflist& network);

/// One allocation file.
struct Allocation {
  addr::Ip ip = {};
  std::string container_id = {};
  std::string ifname = {};    ///< empty: an old or foreign file that has the ID only
  bool earlier_boot = false;  ///< from before this boot: free again, whatever the file says
};

/// What the network holds of its pool, by address. An absent folder is none. Error: kSystem.
Result<std::vector<Allocation>> list_allocations(const Pool& pool, const std::string& network);

/// How many of them count: not from an earlier boot.
uint64_t count_taken(const std::vector<Allocation>& allocations);

}  // namespace slicer::runner
