#pragma once
// From the policies that stand in table `inet slicer` to those that are wanted, as one transaction. Private to the
// nftables files.

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/netfilter/nftables/policy.h"

namespace slicer::netfilter {

/// The policies of the table as they stand, and what else of one network has to do with them.
struct StandingPolicies {
  std::map<std::string, StandingChain> chains = {};  ///< all of the table, by name
  std::map<std::string, uint32_t> rules = {};        ///< how many a chain has
  std::vector<std::string> maps = {};                ///< names of all sets and maps
  std::vector<StandingRule> selectors = {};          ///< the rules of the network's egress chain
  std::vector<MapElement> own = {};                  ///< VMs of the network with a policy of their own
};

/// Reads it, by dumps: only where something changes. `interrupted`: ask again.
struct PolicyReading {
  StandingPolicies standing = {};
  bool interrupted = false;
};
Result<PolicyReading> read_policies(NftSession& session, const std::string& network);

/// What is wanted.
struct PolicyWish {
  std::string network = {};
  /// Absent: the lists stay as they stand (DEL, GC).
  std::optional<PolicyRules> rules = {};
  std::optional<Forward> selector = {};  ///< with `rules`
  bool remove_all = false;               ///< the network goes
  /// Whose elements go, by vm_mark(); empty: nobody's.
  std::function<bool(const std::string& mark)> gone = {};
};

/// The steps between the two.
class PolicyPlan {
 public:
  PolicyPlan(const StandingPolicies& standing, const PolicyWish& wish);
  [[nodiscard]] bool empty() const;
  void put(MessageBuffer& out) const;
  /// Whether the plan removes this chain (set, map).
  [[nodiscard]] bool removes_chain(const std::string& name) const;
  [[nodiscard]] bool removes_map(const std::string& name) const;

 private:
  void plan_elements();
  void plan_judge();
  void plan_selectors();
  void plan_policies();
  void plan_ingress();
  /// Whether a chain of a segregated bridge is to be made.
  bool plan_segregation(const std::string& chain, uint32_t rules);
  [[nodiscard]] std::vector<Rule> wanted_selectors() const;
  [[nodiscard]] bool stands(const std::string& chain) const { return standing_.chains.contains(chain); }
  void put_new_policies(MessageBuffer& out) const;
  void put_elements(MessageBuffer& out) const;
  void put_removals(MessageBuffer& out) const;
  void want(const CompiledPolicy& policy, const std::string& id) { wanted_policies_.emplace(id, policy); }

  const StandingPolicies& standing_;
  const PolicyWish& wish_;
  std::string log_prefix_ = {};
  std::map<std::string, CompiledPolicy> wanted_policies_ = {};  ///< by id
  std::map<std::string, int64_t> references_ = {};              ///< policy chain -> more or fewer ways to it
  std::vector<MapElement> removed_elements_ = {};
  std::vector<MapElement> added_elements_ = {};
  size_t elements_left_ = 0;
  std::optional<std::string> judge_id_ = {};  ///< of the judge that is to stand
  bool new_judge_ = false;
  std::vector<std::string> old_judges_ = {};
  std::vector<uint64_t> old_selectors_ = {};
  std::vector<Rule> new_selectors_ = {};
  std::vector<std::string> new_policies_ = {};      ///< ids
  std::vector<std::string> removed_policies_ = {};  ///< ids
  std::vector<std::string> removed_chains_ = {};
  std::optional<Ingress> new_ingress_ = {};
  bool new_detection_ = false;
  bool new_redirects_ = false;
};

}  // namespace slicer::netfilter
