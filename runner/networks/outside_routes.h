#pragma once
// Which routes other machines need to reach this host's VMs.

#include <optional>
#include <string>
#include <vector>

#include "lib/addr/ip.h"
#include "lib/base/result.h"
#include "runner/settings.h"

namespace slicer::runner {

/// A bridge's subnet, which this host routes.
struct OutsideRoute {
  std::string network = {};
  std::string bridge = {};
  bool bridge_is_there = false;
  addr::Cidr subnet = {};
  std::optional<addr::Ip> via = {};  ///< this host's address on the link of its default route; none: it has none
};

/// A network that needs no route, and why.
struct RoutelessNetwork {
  std::string network = {};
  std::string reason = {};
};

struct RoutePlan {
  std::vector<OutsideRoute> routes = {};
  std::vector<RoutelessNetwork> routeless = {};
};

/// The networks of the folder and those of host groups that have VMs, by name. `via` (may be empty): addresses of this
/// host to use instead of what the default routes tell. Errors: kSystem.
Result<RoutePlan> plan_routes(const Settings& settings, const std::vector<addr::Ip>& via);

enum class RouteSyntax { kLinux, kMacos, kWindows };

/// One command line that adds the route on such a machine. `route.via` must be there.
std::string route_command(const OutsideRoute& route, RouteSyntax syntax);

}  // namespace slicer::runner
