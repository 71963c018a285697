#include "lib/netfilter/nftables/policy_glance.h"

#include <fmt/format.h>

#include <algorithm>

namespace slicer::netfilter {
namespace {

ChainPlace place_of(const std::string& chain) { return {.family = kInet, .table = kTable, .chain = chain}; }

std::string prefix_of(const NetworkRules& rules) {
  return rules.policy->log ? log_prefix(rules.network) : std::string();
}

struct ChainCount {
  std::string name = {};
  uint32_t rules = 0;
};

std::vector<ChainCount> segregation_chains(const NetworkRules& rules) {
  if (!rules.policy->segregated) return {};
  return {{.name = detection_chain(rules.network), .rules = kDetectionRules},
          {.name = redirects_chain(rules.network), .rules = kRedirectsRules}};
}

}  // namespace

PolicyGlance::PolicyGlance(const NetworkRules& rules) : rules_(rules) {
  if (!rules.policy) return;
  id_ = policy_id(rules.policy->lists, prefix_of(rules));
  wanted_ = !rules.policy->lists.allows_everything();
  for (const VmPolicy& vm : rules.policy->vms) {
    if (!vm.own) continue;
    wanted_ = true;
    for (const addr::Ip& ip : vm.addresses)
      elements_.push_back({.addresses = {.first = ip, .last = ip},
                           .target = {.chain = policy_chain(policy_id(*vm.own, prefix_of(rules)))},
                           .comment = vm_mark(vm.owner)});
  }
  if (!wanted_ || !rules.forward || !rules.forward->bridge.empty()) return;
  for (const addr::Cidr& subnet : rules.forward->subnets)
    selectors_left_.push_back({.field = Field::kSource, .prefix = subnet.network()});
  if (rules.forward->group != 0)
    selectors_left_.push_back({.field = Field::kInputGroup, .group = rules.forward->group});
}

void PolicyGlance::ask(MessageBuffer& out) const {
  if (!rules_.policy) return;
  ask_chain(out, place_of(egress_chain(rules_.network)));
  ask_chain(out, place_of(judge_chain(rules_.network, id_)));
  ask_chain(out, place_of(same_bridge_chain(rules_.network)));
  ask_chain(out, place_of(isolated_chain(rules_.network)));
  for (const ChainCount& one : segregation_chains(rules_)) ask_chain(out, place_of(one.name));
  for (const VmPolicy& vm : rules_.policy->vms)
    for (const addr::Ip& ip : vm.addresses) ask_map_element(out, own_map(rules_.network, ip.family()), ip);
}

std::vector<ChainPlace> PolicyGlance::chains_to_dump() const {
  if (selectors_left_.empty()) return {};
  return {place_of(egress_chain(rules_.network))};
}

void PolicyGlance::take_chain(const StandingChain& chain) {
  if (chain.place.family == kInet && chain.place.table == kTable) standing_.push_back(chain);
}

void PolicyGlance::take_rule(const StandingRule& rule) {
  if (rule.place != place_of(egress_chain(rules_.network)) || !rule.rule) return;
  if (rule.rule->target != judge_chain(rules_.network, id_)) return;
  for (const Match& match : rule.rule->matches) std::erase(selectors_left_, match);
}

void PolicyGlance::take_elements(const nlmsghdr* message) {
  const std::string name = read_map_name(message);
  for (const addr::Family family : {addr::Family::kIpv4, addr::Family::kIpv6}) {
    const MapSpec map = own_map(rules_.network, family);
    if (map.name != name) continue;
    MapReader reader(map);
    reader.read(message);
    for (MapElement& element : reader.take()) standing_elements_.push_back(std::move(element));
  }
}

bool PolicyGlance::stands(const std::string& chain, uint32_t uses) const {
  return std::ranges::any_of(standing_,
                             [&](const StandingChain& one) { return one.place.chain == chain && one.uses >= uses; });
}

std::string PolicyGlance::missing_chain() const {
  const std::string egress = egress_chain(rules_.network);
  const std::string judge = judge_chain(rules_.network, id_);
  const bool none_stands = !stands(egress, 0);
  if (!wanted_ && none_stands) return {};
  if (!stands(egress, 1)) return fmt::format("chain '{}' is gone, or its rules are", egress);
  // Its rules, and the one that leads to it.
  if (!stands(judge, kJudgeRules + 1))
    return fmt::format("chain '{}' is gone or changed: another policy is in force", judge);
  if (!selectors_left_.empty())
    return fmt::format("rule '{}' is gone from chain '{}'",
                       rule_text({.matches = {selectors_left_.front()}, .verdict = Verdict::kGoto, .target = judge}),
                       egress);
  return {};
}

std::string PolicyGlance::missing() const {
  if (!rules_.policy) return {};
  if (std::string chain = missing_chain(); !chain.empty()) return chain;
  for (const Ingress ingress : {Ingress::kSameBridge, Ingress::kIsolated}) {
    const std::string chain =
        ingress == Ingress::kIsolated ? isolated_chain(rules_.network) : same_bridge_chain(rules_.network);
    if (rules_.policy->ingress == ingress && !stands(chain, ingress_rules(ingress)))
      return fmt::format("chain '{}' is gone or changed", chain);
    if (rules_.policy->ingress != ingress && stands(chain, 0))
      return fmt::format("chain '{}' is there: another ingressPolicy is in force", chain);
  }
  for (const ChainCount& one : segregation_chains(rules_))
    if (!stands(one.name, one.rules)) return fmt::format("chain '{}' is gone or changed", one.name);
  for (const MapElement& element : elements_)
    if (std::ranges::find(standing_elements_, element) == standing_elements_.end())
      return fmt::format("'{}' does not lead to its policy in map '{}'", element.addresses.first.text(),
                         own_map(rules_.network, element.addresses.family()).name);
  for (const MapElement& element : standing_elements_)
    if (std::ranges::find(elements_, element) == elements_.end())
      return fmt::format("'{}' has a policy of its own in map '{}'", element.addresses.first.text(),
                         own_map(rules_.network, element.addresses.family()).name);
  return {};
}

}  // namespace slicer::netfilter
