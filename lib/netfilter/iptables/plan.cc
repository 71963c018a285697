#include "lib/netfilter/iptables/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "lib/netfilter/iptables/isolation.h"

namespace slicer::netfilter {
namespace {

constexpr std::array kParts{IptPart::kMasquerade, IptPart::kForward, IptPart::kEgress,    IptPart::kDetection,
                            IptPart::kIngress,    IptPart::kWithin,  IptPart::kRedirects, IptPart::kJudge};
/// Docker's documented place for the administrator's rules.
constexpr const char* kUserChain = "DOCKER-USER";

bool is_ours(const std::string& chain) { return chain.starts_with(kOurChains); }

std::vector<std::string> hook_chains(IptTable table) {
  switch (table) {
    case IptTable::kFilter:
      return {"FORWARD", kUserChain};
    case IptTable::kNat:
      return {"POSTROUTING"};
    case IptTable::kMangle:
      return {"PREROUTING", "INPUT", "FORWARD", "OUTPUT"};
  }
  return {};
}

/// Works on a copy of the chains; what differs in the end is the change.
class Planner {
 public:
  Planner(const IptImage& standing, const std::string& network)
      : standing_(standing), network_(network), chains_(standing.chains) {}

  [[nodiscard]] addr::Family family() const { return standing_.family; }
  [[nodiscard]] bool stands(IptPart part) const { return chains_.contains(ipt_chain(part, network_)); }

  /// The rules that a chain is to have, among others that stay in it.
  void want_among(IptPart part, const std::vector<IptRule>& rules) {
    if (rules.empty()) return;
    std::vector<IptRule>& chain = chains_[ipt_chain(part, network_)];
    // The administrator's chain comes first, whatever else is there already.
    for (size_t i = 0; i < rules.size(); ++i)
      if (std::ranges::find(chain, rules[i]) == chain.end())
        chain.insert(i == 0 && rules[i].target != "ACCEPT" ? chain.begin() : chain.end(), rules[i]);
    hook(part);
  }

  /// The rules of a chain, no others; none: no chain.
  void want_exactly(IptPart part, const std::vector<IptRule>& rules) {
    if (rules.empty()) return drop(part);
    chains_[ipt_chain(part, network_)] = rules;
    hook(part);
  }

  void drop(IptPart part) {
    chains_.erase(ipt_chain(part, network_));
    hooks_wanted_.erase(part);
  }

  void want_bridge(const NetworkRules& rules) {
    const IptRule rule = bridge_rule(rules, family());
    std::vector<IptRule>& chain = chains_[kBridgesChain];
    if (std::ranges::find(chain, rule) == chain.end()) chain.push_back(rule);
    // Isolated networks' own, when their rules are here.
    const auto isolation = chains_.find(kIsolationBridgesChain);
    if (isolation == chains_.end()) return;
    const IptRule out = isolation_bridge_rule({.name = rules.listed_bridge, .mark = network_mark(network_)});
    if (std::ranges::find(isolation->second, out) == isolation->second.end()) isolation->second.push_back(out);
  }

  void drop_bridges() {
    for (const char* name : {kBridgesChain, kIsolationBridgesChain}) {
      const auto chain = chains_.find(name);
      if (chain == chains_.end()) continue;
      std::erase_if(chain->second, [&](const IptRule& rule) { return rule.comment() == network_mark(network_); });
      if (chain->second.empty() && !is_used(name)) chains_.erase(chain);
    }
  }

  [[nodiscard]] IptJudge judge() const { return read_judge(chains_, network_); }

  void drop_judge() {
    const std::string name = ipt_chain(IptPart::kJudge, network_);
    std::erase_if(chains_,
                  [&](const auto& entry) { return entry.first == name || entry.first.starts_with(name + "-"); });
  }

  void put_judge(const std::vector<IptOwn>& own, const std::string& policy) {
    drop_judge();
    chains_.merge(judge_chains(network_, family(), own, policy));
  }

  void want_policy(const CompiledPolicy& policy, const std::string& id, const std::string& prefix) {
    if (chains_.contains(ipt_policy_chain(id))) return;  // its name says what is in it
    chains_.merge(policy_chains({.family = family(), .id = id, .log_prefix = prefix}, policy));
  }

  void keep(IptPart part) {
    if (stands(part)) hook(part);
  }

  IptChange finish() {
    sweep_policies();
    IptChange change;
    for (const auto& [name, rules] : chains_) {
      const auto before = standing_.chains.find(name);
      if (before == standing_.chains.end() || before->second != rules) change.put.emplace(name, rules);
    }
    for (const auto& [name, rules] : standing_.chains)
      if (!chains_.contains(name)) change.removed.push_back(name);
    plan_hooks(change);
    for (const auto& [name, rules] : change.put)
      for (const IptRule& rule : rules)
        if (!rule.target.empty() && !is_ours(rule.target) && !is_verdict(rule.target) &&
            !standing_.has_other(rule.target) && std::ranges::find(change.made, rule.target) == change.made.end())
          change.made.push_back(rule.target);
    return change;
  }

 private:
  static bool is_verdict(const std::string& target) {
    return target == "ACCEPT" || target == "DROP" || target == "RETURN" || target == "QUEUE";
  }

  void hook(IptPart part) { hooks_wanted_.insert(part); }

  [[nodiscard]] bool is_used(const std::string& chain) const {
    return std::ranges::any_of(chains_, [&](const auto& entry) {
      return std::ranges::any_of(entry.second, [&](const IptRule& rule) { return rule.target == chain; });
    });
  }

  /// Where a part hangs: where it does already, else in Docker's chain for the purpose, else in the built-in one.
  [[nodiscard]] IptHooked hooked(IptPart part) const {
    const IptHook place = hook_of(part).value_or(IptHook{});
    IptHooked hook{.chain = place.chain, .first = place.first};
    hook.rule = IptRule{.family = family()}.says(network_mark(network_)).jump(ipt_chain(part, network_));
    if (part != IptPart::kForward || !standing_.has_other(kUserChain)) return hook;
    IptHooked user = hook;
    user.chain = kUserChain;
    return user;
  }

  void plan_hooks(IptChange& change) {
    std::vector<IptHooked> wanted;
    for (const IptPart part : kParts) {
      if (part == IptPart::kJudge || !hooks_wanted_.contains(part)) continue;
      wanted.push_back(hooked(part));
    }
    for (const IptHooked& there : standing_.hooks) {
      const auto same = std::ranges::find_if(wanted, [&](const IptHooked& one) { return one.same_as(there); });
      if (same != wanted.end())
        wanted.erase(same);
      else if (is_of_network(there) && !is_left_alone(there, wanted))
        change.unhooked.push_back(there);
    }
    change.hooked = std::move(wanted);
  }

  /// Whose hook: known by the chain that it leads to.
  [[nodiscard]] bool is_of_network(const IptHooked& there) const {
    return std::ranges::any_of(kParts, [&](IptPart part) { return there.rule.target == ipt_chain(part, network_); });
  }

  /// A call that says nothing of a part leaves it as it is.
  [[nodiscard]] bool is_left_alone(const IptHooked& there, const std::vector<IptHooked>&) const {
    return chains_.contains(there.rule.target) && std::ranges::none_of(hooks_wanted_, [&](IptPart part) {
             return there.rule.target == ipt_chain(part, network_);
           });
  }

  /// Policies that no judge leads to any more.
  void sweep_policies() {
    std::set<std::string> used;
    for (const auto& [name, rules] : chains_)
      if (id_in_ipt_policy(name).empty())
        for (const IptRule& rule : rules) used.insert(id_in_ipt_policy(rule.target));
    std::erase_if(chains_, [&](const auto& entry) {
      const std::string id = id_in_ipt_policy(entry.first);
      return !id.empty() && !used.contains(id);
    });
  }

  const IptImage& standing_;
  const std::string& network_;
  IptChains chains_;
  std::set<IptPart> hooks_wanted_ = {};
};

std::string no_policy() { return policy_id({}, {}); }

/// The judge as it is to be: the VMs of the call replaced, the others as they stand.
void plan_policy(Planner& plan, const NetworkRules& rules) {
  const PolicyRules& policy = *rules.policy;
  const std::string prefix = policy.log ? log_prefix(rules.network) : std::string();
  const std::string short_prefix = policy.log ? ipt_log_prefix(rules.network) : std::string();
  const std::string lists = policy_id(policy.lists, prefix);
  IptJudge judge = plan.judge();
  std::erase_if(judge.own, [&](const IptOwn& own) {
    return std::ranges::any_of(policy.vms, [&](const VmPolicy& vm) {
      return own.owner == vm_mark(vm.owner) || std::ranges::find(vm.addresses, own.address) != vm.addresses.end();
    });
  });
  bool any_own = !judge.own.empty();
  for (const VmPolicy& vm : policy.vms) {
    if (!vm.own) continue;
    any_own = true;
    const std::string id = policy_id(*vm.own, prefix);
    for (const addr::Ip& ip : vm.addresses)
      if (ip.family() == plan.family()) judge.own.push_back({.address = ip, .owner = vm_mark(vm.owner), .policy = id});
    plan.want_policy(*vm.own, id, short_prefix);
  }
  if (policy.lists.allows_everything() && !any_own) {
    plan.drop_judge();
    return plan.drop(IptPart::kEgress);
  }
  plan.want_policy(policy.lists, lists, short_prefix);
  plan.put_judge(judge.own, lists);
  plan.want_among(IptPart::kEgress, selector_rules(rules, plan.family()));
}

void plan_mangle(Planner& plan, const NetworkRules& rules) {
  plan.want_among(IptPart::kWithin, within_rules(rules, plan.family()));
  if (!rules.listed_bridge.empty()) plan.want_bridge(rules);
  if (!rules.policy) return;
  plan_policy(plan, rules);
  plan.want_exactly(IptPart::kIngress, ingress_chain_rules(rules, plan.family()));
  // What a segregated bridge needs stays until the network goes.
  plan.want_among(IptPart::kDetection, detection_rules(rules, plan.family()));
  plan.want_among(IptPart::kRedirects, redirects_rules(rules, plan.family()));
}

}  // namespace

bool IptImage::has_other(const std::string& chain) const { return std::ranges::find(others, chain) != others.end(); }

IptImage read_image(const IptSession& session, addr::Family family, IptTable table, Detail detail) {
  IptImage image{.family = family, .table = table};
  for (const std::string& chain : session.chains()) {
    if (!is_ours(chain)) {
      image.others.push_back(chain);
      continue;
    }
    std::vector<IptRule>& rules = image.chains[chain];
    if (detail == Detail::kNoPolicies && !id_in_ipt_policy(chain).empty()) continue;
    for (StandingIptRule& one : session.rules(chain)) rules.push_back(std::move(one.rule));
  }
  for (const std::string& chain : hook_chains(table))
    for (StandingIptRule& one : session.rules(chain))
      if (is_ours(one.rule.target)) image.hooks.push_back({.chain = chain, .rule = std::move(one.rule)});
  return image;
}

IptChange plan_rules(const IptImage& standing, const NetworkRules& rules) {
  Planner plan(standing, rules.network);
  switch (standing.table) {
    case IptTable::kNat:
      plan.want_among(IptPart::kMasquerade, masquerade_rules(rules, standing.family));
      break;
    case IptTable::kFilter:
      plan.want_among(IptPart::kForward, forward_rules(rules, standing.family));
      break;
    case IptTable::kMangle:
      plan_mangle(plan, rules);
      break;
  }
  return plan.finish();
}

IptChange plan_removal(const IptImage& standing, const std::string& network) {
  Planner plan(standing, network);
  for (const IptPart part : kParts) plan.drop(part);
  plan.drop_judge();
  plan.drop_bridges();
  return plan.finish();
}

IptChange plan_part_removal(const IptImage& standing, const std::string& network, IptPart part) {
  Planner plan(standing, network);
  plan.drop(part);
  return plan.finish();
}

IptChange plan_vm_removal(const IptImage& standing, const std::string& network, const VmFilter& gone) {
  Planner plan(standing, network);
  IptJudge judge = plan.judge();
  const bool any = std::erase_if(judge.own, [&](const IptOwn& own) { return gone(own.owner); }) > 0;
  if (!any) return {};
  if (judge.own.empty() && judge.policy == no_policy()) {
    plan.drop_judge();
    plan.drop(IptPart::kEgress);
  } else {
    plan.put_judge(judge.own, judge.policy);
  }
  return plan.finish();
}

std::string change_text(const IptImage& standing, const IptChange& change) {
  const std::string where = fmt::format("table '{}' of {}", table_name(standing.table), program_of(standing.family));
  for (const auto& [name, rules] : change.put) {
    const auto there = standing.chains.find(name);
    if (there == standing.chains.end()) return fmt::format("chain '{}' in {} is gone", name, where);
    for (const IptRule& rule : rules)
      if (std::ranges::find(there->second, rule) == there->second.end())
        return fmt::format("rule '{}' is gone from chain '{}' in {}", rule.text(), name, where);
    return fmt::format("chain '{}' in {} has rules that it should not have", name, where);
  }
  if (!change.hooked.empty())
    return fmt::format("rule '{}' is gone from chain '{}' in {}", change.hooked.front().rule.text(),
                       change.hooked.front().chain, where);
  if (!change.removed.empty())
    return fmt::format("chain '{}' in {} should not be there", change.removed.front(), where);
  return fmt::format("{} has other rules than it should have", where);
}

Result<void> put_change(IptSession& session, const IptImage& standing, const IptChange& change) {
  for (const std::string& name : change.made) TRY(session.create_chain(name));
  for (const auto& [name, rules] : change.put)
    if (!standing.chains.contains(name)) TRY(session.create_chain(name));
  for (const auto& [name, rules] : change.put) {
    if (standing.chains.contains(name)) TRY(session.flush_chain(name));
    for (const IptRule& rule : rules) TRY(session.append(name, rule));
  }
  for (const IptHooked& hook : change.unhooked) {
    const std::vector<StandingIptRule> rules = session.rules(hook.chain);
    const auto found = std::ranges::find(rules, hook.rule, &StandingIptRule::rule);
    if (found != rules.end()) TRY(session.delete_rule(hook.chain, static_cast<size_t>(found - rules.begin())));
  }
  for (const IptHooked& hook : change.hooked)
    TRY(hook.first ? session.insert_first(hook.chain, hook.rule) : session.append(hook.chain, hook.rule));
  for (const std::string& name : change.removed) TRY(session.flush_chain(name));
  for (const std::string& name : change.removed) TRY(session.delete_chain(name));
  return {};
}

}  // namespace slicer::netfilter
