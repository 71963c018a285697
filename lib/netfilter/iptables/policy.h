#pragma once
// Policies as chains of the table mangle (docs/slicer-firewall.md, "iptables"). Pure. Private to the iptables files.
//
//   slicer-pol-ID        TCP and UDP to the tree of ports, everything to the tree of addresses
//   slicer-pol-ID-pXXX   tree of addresses with ports, then of ports: at most kFanout rules in a chain, each leads to a
//                        part of what is below it
//   slicer-pol-ID-aXXX   tree of addresses
//   slicer-pol-ID-drop, slicer-pol-ID-pass   the ends; their rules count
//
// x_tables has no sets of its own that would change in one step with the rules, so thousands of intervals stand in a
// tree of chains: a packet meets about kFanout rules for each level (10,000 intervals: four levels).

#include <map>
#include <string>
#include <vector>

#include "lib/netfilter/iptables/rule.h"

namespace slicer::netfilter {

using IptChains = std::map<std::string, std::vector<IptRule>>;

inline constexpr size_t kFanout = 16;
/// XT_EXTENSION_MAXNAMELEN, less the closing zero.
inline constexpr size_t kMaxIptChain = 28;

/// "slicer-pol-ID"
std::string ipt_policy_chain(const std::string& id);
/// The ID in the name of any chain of a policy; empty for others.
std::string id_in_ipt_policy(const std::string& chain);
std::string ipt_drop_chain(const std::string& id);
std::string ipt_pass_chain(const std::string& id);

struct IptPolicySpec {
  addr::Family family = addr::Family::kIpv4;
  std::string id = {};          ///< policy_id()
  std::string log_prefix = {};  ///< empty: nothing is logged; NFLOG takes 63 bytes
};

/// All chains of a policy, for packets of one family.
IptChains policy_chains(const IptPolicySpec& spec, const CompiledPolicy& policy);

/// Adds what chains of a policy say of one family; `chains` may hold others'. `fallback` is the family's, too.
void add_policy(CompiledPolicy& policy, const IptChains& chains, const std::string& id);

/// One step of a tree: what leads to a part of it.
struct IptLeaf {
  addr::IpRange range = {};
  std::vector<IptRule> rules = {};  ///< whole, for this range
};

/// A tree over disjoint ranges in ascending order.
struct IptTree {
  addr::Family family = addr::Family::kIpv4;
  std::string node_prefix = {};  ///< names of inner chains: this and a number
  bool by_source = false;        ///< ranges are of source addresses
  std::string miss = {};         ///< chain for what is in none; empty: back to where the tree was called from
};
/// The rules of the tree's root; its other chains are added to `chains`.
std::vector<IptRule> build_tree(const IptTree& tree, std::vector<IptLeaf> leaves, IptChains& chains);

}  // namespace slicer::netfilter
