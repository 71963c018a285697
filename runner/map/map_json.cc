#include "runner/map/host_map.h"

namespace slicer::runner {
namespace {

cni::Json vm_of(const MapBranch& branch) {
  if (!branch.vm) return nullptr;
  const MapVm& vm = *branch.vm;
  return {{"name", vm.name},       {"group", vm.group},         {"state", vm.state},
          {"network", vm.network}, {"addresses", vm.addresses}, {"policy", vm.policy}};
}

cni::Json branch_of(const MapBranch& branch) {
  const VmPath& path = branch.path;
  return {{"hostLink", path.host_link}, {"netns", path.netns}, {"innerVeth", path.inner_veth}, {"tap", path.tap},
          {"kind", path.tap_kind},      {"mode", path.mode},   {"mtu", path.mtu_bytes},        {"up", path.up},
          {"owner", branch.owner},      {"vm", vm_of(branch)}};
}

}  // namespace

cni::Json map_json(const HostMap& map) {
  cni::Json anchors = cni::Json::array();
  for (const MapAnchor& anchor : map.anchors) {
    cni::Json branches = cni::Json::array();
    for (const MapBranch& branch : anchor.branches) branches.push_back(branch_of(branch));
    anchors.push_back({{"kind", anchor_name(anchor.kind)},
                       {"name", anchor.name},
                       {"addresses", anchor.addresses},
                       {"networks", anchor.networks},
                       {"defaultRoute", anchor.default_route},
                       {"up", anchor.up},
                       {"links", branches}});
  }
  return {{"host", map.host}, {"anchors", anchors}};
}

}  // namespace slicer::runner
