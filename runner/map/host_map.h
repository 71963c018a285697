#pragma once
// This host's VM networks as a tree: what the kernel has on the host, what hangs on it, and the VMs at the ends.

#include <optional>
#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/cni/json.h"
#include "runner/map/vm_path.h"
#include "runner/settings.h"

namespace slicer::runner {

struct MapVm {
  std::string name = {};
  std::string group = {};  ///< empty: none
  std::string state = {};
  std::string network = {};
  std::vector<std::string> addresses = {};
  std::string policy = {};  ///< "no lists", "allow all but 3", "drop all but 2"; empty: not known
  friend bool operator==(const MapVm&, const MapVm&) = default;
};

/// One link of an anchor, and who is behind it.
struct MapBranch {
  VmPath path = {};
  std::optional<MapVm> vm = {};  ///< none: not of this runner
  std::string owner = {};        ///< of such a link: its alias, when it has one
};

struct MapAnchor {
  AnchorKind kind = AnchorKind::kBridge;
  std::string name = {};
  std::vector<std::string> addresses = {};  ///< CIDRs, without link-local ones
  std::vector<std::string> networks = {};   ///< whose it is
  bool default_route = false;               ///< the host's way out
  bool up = true;
  std::vector<MapBranch> branches = {};
};

struct HostMap {
  std::string host = {};                ///< its name
  std::vector<MapAnchor> anchors = {};  ///< bridges, parents, then what is routed, then what hangs on nothing
};

/// Error: kSystem, kUnavailable (not root).
Result<HostMap> draw_map(const Settings& settings);

/// A tree for a terminal.
struct TreeStyle {
  bool utf8 = true;
  bool colours = false;
};
std::string map_tree(const HostMap& map, const TreeStyle& style);

/// For programs; docs/views.md names the members, which stay as they are.
cni::Json map_json(const HostMap& map);

/// A picture: SVG 1.1, without scripts or anything from elsewhere.
std::string map_svg(const HostMap& map);

}  // namespace slicer::runner
