#include "lib/netfilter/shared_bridge.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <set>

#include "lib/netfilter/backend.h"
#include "lib/netfilter/bridge_lists.h"

namespace slicer::netfilter {
namespace {

/// What a backend has; nothing where it is not.
Result<void> collect(Result<std::vector<BridgeLists>> found, std::vector<BridgeLists>& all) {
  if (!found && found.error().kind == Kind::kUnsupportedKernel) return {};
  if (!found) return std::unexpected(found.error());
  all.insert(all.end(), found->begin(), found->end());
  return {};
}

}  // namespace

std::string network_of_mark(const std::string& mark) { return mark.substr(network_mark("").size()); }

std::string SharedBridge::text() const {
  return fmt::format("networks '{}' are on one bridge, '{}': their VMs are held to the lists of all of them",
                     fmt::join(networks, "', '"), name);
}

const char* SharedBridge::remedy() {
  return "give each network a bridge of its own (\"bridge\" in its conflist), or all of them the same lists";
}

Result<std::vector<SharedBridge>> find_shared_bridges() {
  std::vector<BridgeLists> all;
  TRY(collect(bridge_lists_in_nftables(), all));
  if (has_legacy_tables()) TRY(collect(bridge_lists_in_legacy(), all));
  std::map<std::string, std::map<std::string, std::string>> bridges;
  for (const BridgeLists& one : all) {
    std::string& policy = bridges[one.bridge][one.network];
    if (policy.empty()) policy = one.policy;
  }
  std::vector<SharedBridge> shared;
  const std::string open = policy_id({}, {});
  for (const auto& [bridge, networks] : bridges) {
    SharedBridge found{.name = bridge};
    std::set<std::string> policies;
    for (const auto& [network, policy] : networks) {
      found.networks.push_back(network);
      policies.insert(policy.empty() ? open : policy);
    }
    if (policies.size() > 1) shared.push_back(std::move(found));
  }
  return shared;
}

}  // namespace slicer::netfilter
