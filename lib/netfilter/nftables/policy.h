#pragma once
// How policies stand in an inet (or netdev) table of nf_tables (docs/slicer-firewall.md, "Drop and allow"). Private to
// the nftables files.
//
//   egress-NETWORK      base chain, prerouting: packets from the network's VMs go to
//   judge-ID-NETWORK    what passes always; VMs with a policy of their own by the maps own4-NETWORK, own6-NETWORK; then
//   policy-ID           looks the destination up in its maps and goes to policy-ID-drop or policy-ID-pass
//   same-bridge-NETWORK, isolated-NETWORK   base chains, forward: ingressPolicy
//
// ID names a policy by its hash: chain and maps of a policy are shared by all who have the same one.

#include <optional>
#include <string>
#include <vector>

#include "lib/netfilter/nftables/codec.h"
#include "lib/netfilter/nftables/map.h"
#include "lib/netfilter/policy.h"
#include "lib/netfilter/ruleset.h"

namespace slicer::netfilter {

/// Judged before any DNAT (-100), so by the destination that the VM sees, and after connection tracking (-200).
/// linux/netfilter_ipv4.h: NF_IP_PRI_MANGLE.
inline constexpr int32_t kEgressPriority = -150;
BaseHook egress_hook();

std::string egress_chain(const std::string& network);
std::string judge_chain(const std::string& network, const std::string& id);
/// The ID in a judge chain's name; absent when it is none of the network's.
std::optional<std::string> id_in_judge_chain(const std::string& chain, const std::string& network);
std::string policy_chain(const std::string& id);
std::string drop_chain(const std::string& id);
std::string pass_chain(const std::string& id);
/// "policy-ID"? (Not its -drop and -pass.)
bool is_policy_chain(const std::string& chain);
std::string same_bridge_chain(const std::string& network);
std::string isolated_chain(const std::string& network);
MapSpec own_map(const std::string& network, addr::Family family);
/// A policy in a table.
struct PolicyPlace {
  uint16_t family = kInet;
  std::string table = kTable;
  std::string id = {};          ///< policy_id()
  std::string log_prefix = {};  ///< empty: nothing is logged
};

/// The maps of a policy: addresses of both families, addresses with ports of both.
std::vector<MapSpec> policy_maps(const PolicyPlace& place);

/// Chains, maps and rules of a policy. The whole of it is new in this transaction.
void put_policy(MessageBuffer& out, const PolicyPlace& place, const CompiledPolicy& policy);
/// All of it; nothing may lead to it any more. `standing_maps`: the names of the table's maps, those of others among
/// them; a policy has only the maps that hold something.
void delete_policy(MessageBuffer& out, const PolicyPlace& place, const std::vector<std::string>& standing_maps);
/// What put_policy() would put into one of policy_maps().
std::vector<MapElement> map_elements(const MapSpec& map, const std::string& id, const CompiledPolicy& policy);
/// A policy read back. `fallback` is not in the maps.
void add_elements(CompiledPolicy& policy, const std::vector<MapElement>& elements, const std::string& id);

/// What passes whatever a policy says, as rules of the chain: replies, neighbour discovery, DHCP.
void put_always_passing(MessageBuffer& out, const ChainPlace& chain);
inline constexpr uint32_t kAlwaysPassingRules = 8;

/// A judge chain with its rules: what always passes, sources that are elsewhere, VMs with lists of their own, the
/// network's lists.
void put_judge(MessageBuffer& out, const std::string& network, const std::string& id);
inline constexpr uint32_t kJudgeRules = kAlwaysPassingRules + 4;

/// The two chains of a segregated bridge: duplicate address detection of VMs goes nowhere (RFC 4862, section 5.4.2: its
/// solicitations come from ::), and the host sends no redirects.
std::string detection_chain(const std::string& network);
std::string redirects_chain(const std::string& network);
inline constexpr uint32_t kDetectionRules = 1;
inline constexpr uint32_t kRedirectsRules = 2;
void put_detection(MessageBuffer& out, const std::string& network, const std::string& bridge);
void put_redirects(MessageBuffer& out, const std::string& network, const std::string& bridge);

/// How many rules put_ingress() makes.
uint32_t ingress_rules(Ingress ingress);
/// The chain of an ingress policy other than kOpen, on a bridge.
void put_ingress(MessageBuffer& out, const std::string& network, const std::string& bridge, Ingress ingress);

}  // namespace slicer::netfilter
