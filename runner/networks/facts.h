#pragma once
// A network's list in words: what its first plugins make of it.

#include <optional>
#include <string>

#include "runner/chain/conflist.h"
#include "runner/networks/pool.h"

namespace slicer::runner {

struct NetworkFacts {
  std::string main_plugin = {};  ///< the first one's type
  std::string bridge = {};       ///< empty: the main plugin makes none
  bool is_gateway = false;
  bool masquerade = false;
  std::string firewall = {};  ///< the type of the chained firewall; empty: none
  std::string ipam = {};      ///< the IPAM's type; empty: none
  std::optional<Pool> pool = {};
};

/// Errors: kInvalidConfig with the key.
Result<NetworkFacts> read_facts(const chain::Conflist& network);

/// "slicer-bridge, slicer-firewall"
std::string plugin_names(const chain::Conflist& network);

}  // namespace slicer::runner
