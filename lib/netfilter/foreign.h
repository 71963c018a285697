#pragma once
// Other programs' firewalls, looked at for diagnosis (`slicer-run doctor`): which of them stop forwarded traffic, and
// whether a network has its opening there. Nothing here changes anything.

#include <string>
#include <vector>

#include "lib/base/result.h"

namespace slicer::netfilter {

/// A chain on the forward hook that drops what no rule of it accepts.
struct ForeignFirewall {
  std::string program = {};  ///< "docker", "ufw", "firewalld", "iptables", "nftables": by its chains' names
  std::string family = {};   ///< "ip", "ip6", "inet"
  std::string table = {};
  std::string chain = {};                ///< the base chain
  std::string opening_chain = {};        ///< where slicer-firewall puts its openings; empty: it does not touch this one
  std::vector<std::string> opened = {};  ///< marks ("slicer:NETWORK") of the openings that stand there
  std::string remedy = {};               ///< what the administrator can do, one line
};

/// The whole host in this network namespace, legacy tables (`table`: "filter (legacy)") among it. Errors: kSystem,
/// kUnsupportedKernel.
Result<std::vector<ForeignFirewall>> find_foreign_firewalls();

/// Tables of the old iptables ("filter", "nat") in which other programs keep something; empty when there are none.
std::vector<std::string> legacy_tables();

}  // namespace slicer::netfilter
