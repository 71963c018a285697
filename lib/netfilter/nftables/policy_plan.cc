#include "lib/netfilter/nftables/policy_plan.h"

#include <algorithm>

namespace slicer::netfilter {
namespace {

constexpr std::array kFamilies{addr::Family::kIpv4, addr::Family::kIpv6};

ChainPlace place_of(const std::string& chain) { return {.family = kInet, .table = kTable, .chain = chain}; }

std::string id_of_policy_chain(const std::string& chain) { return chain.substr(policy_chain("").size()); }

Rule selector(std::vector<Match> matches, const std::string& judge, const std::string& network) {
  return {.matches = std::move(matches), .verdict = Verdict::kGoto, .target = judge, .comment = network_mark(network)};
}

void add_once(std::vector<Rule>& rules, Rule rule) {
  if (std::ranges::none_of(rules, [&](const Rule& there) { return there.same_as(rule); }))
    rules.push_back(std::move(rule));
}

/// The elements that the wanted VMs have.
std::vector<MapElement> wanted_elements(const PolicyRules& rules, const std::string& prefix) {
  std::vector<MapElement> elements;
  for (const VmPolicy& vm : rules.vms) {
    if (!vm.own) continue;
    for (const addr::Ip& ip : vm.addresses)
      elements.push_back({.addresses = {.first = ip, .last = ip},
                          .target = {.chain = policy_chain(policy_id(*vm.own, prefix))},
                          .comment = vm_mark(vm.owner)});
  }
  return elements;
}

/// Equal MACs make equal ones: no sign that the other VM is gone.
bool is_link_local(const addr::Ip& ip) { return !ip.is_v4() && ip.value() >> 118 == 0x3fa; }

/// Whose elements a call about `rules` replaces: the VMs', and those of who had one of their addresses: that one is
/// gone.
std::vector<std::string> replaced_owners(const std::vector<MapElement>& standing, const PolicyRules& rules) {
  std::vector<std::string> owners;
  for (const VmPolicy& vm : rules.vms) {
    owners.push_back(vm_mark(vm.owner));
    for (const MapElement& element : standing)
      if (!is_link_local(element.addresses.first) &&
          std::ranges::find(vm.addresses, element.addresses.first) != vm.addresses.end())
        owners.push_back(element.comment);
  }
  return owners;
}

bool is_address_of(const MapElement& element, const PolicyRules& rules) {
  return std::ranges::any_of(rules.vms, [&](const VmPolicy& vm) {
    return std::ranges::find(vm.addresses, element.addresses.first) != vm.addresses.end();
  });
}

class Reader {
 public:
  Reader(NftSession& session, const std::string& network) : session_(session), network_(network) {}

  Result<PolicyReading> run() {
    TRY(ask([](MessageBuffer& out) { (void)ask_all_chains(out, kInet); }));
    TRY(ask([](MessageBuffer& out) { (void)ask_all_rules(out, kInet, kTable); }));
    TRY(ask([](MessageBuffer& out) { (void)ask_sets(out); }));
    for (const addr::Family family : kFamilies) TRY(read_own(own_map(network_, family)));
    return std::move(reading_);
  }

 private:
  template <class Put>
  Result<void> ask(const Put& put) {
    MessageBuffer question;
    put(question);
    const Answers answers = TRY(session_.ask(question, [&](uint32_t, const nlmsghdr* message) { read(message); }));
    reading_.interrupted = reading_.interrupted || answers.interrupted;
    return {};
  }

  Result<void> read_own(const MapSpec& map) {
    if (std::ranges::find(reading_.standing.maps, map.name) == reading_.standing.maps.end()) return {};
    MapReader reader(map);
    MessageBuffer question;
    (void)ask_map_elements(question, map);
    const Answers answers =
        TRY(session_.ask(question, [&](uint32_t, const nlmsghdr* message) { reader.read(message); }));
    reading_.interrupted = reading_.interrupted || answers.interrupted;
    for (MapElement& element : reader.take()) reading_.standing.own.push_back(std::move(element));
    return {};
  }

  void read(const nlmsghdr* message) {
    StandingPolicies& standing = reading_.standing;
    switch (kind_of(message)) {
      case AnswerKind::kChain:
        if (std::optional<StandingChain> chain = read_chain(message); chain && chain->place.table == kTable)
          standing.chains.emplace(chain->place.chain, std::move(*chain));
        return;
      case AnswerKind::kRule:
        if (std::optional<StandingRule> rule = read_rule(message); rule && rule->place.table == kTable) {
          ++standing.rules[rule->place.chain];
          if (rule->place.chain == egress_chain(network_)) standing.selectors.push_back(std::move(*rule));
        }
        return;
      case AnswerKind::kOther:
        if (std::string name = read_set_name(message); !name.empty()) standing.maps.push_back(std::move(name));
        return;
      case AnswerKind::kGeneration:
      case AnswerKind::kElements:
        return;
    }
  }

  NftSession& session_;
  const std::string& network_;
  PolicyReading reading_ = {};
};

}  // namespace

Result<PolicyReading> read_policies(NftSession& session, const std::string& network) {
  return Reader(session, network).run();
}

PolicyPlan::PolicyPlan(const StandingPolicies& standing, const PolicyWish& wish) : standing_(standing), wish_(wish) {
  if (wish.rules && wish.rules->log) log_prefix_ = log_prefix(wish.network);
  plan_elements();
  plan_judge();
  plan_selectors();
  plan_policies();
  plan_ingress();
}

void PolicyPlan::plan_elements() {
  std::vector<MapElement> wanted;
  if (wish_.rules) {
    wanted = wanted_elements(*wish_.rules, log_prefix_);
    for (const VmPolicy& vm : wish_.rules->vms)
      if (vm.own) want(*vm.own, policy_id(*vm.own, log_prefix_));
  }
  elements_left_ = wanted.size();
  const std::vector<std::string> replaced =
      wish_.rules ? replaced_owners(standing_.own, *wish_.rules) : std::vector<std::string>();
  for (const MapElement& element : standing_.own) {
    const auto same = std::ranges::find(wanted, element);
    if (same != wanted.end()) {
      wanted.erase(same);
      continue;
    }
    const bool goes = wish_.remove_all || std::ranges::find(replaced, element.comment) != replaced.end() ||
                      (wish_.rules && is_address_of(element, *wish_.rules)) ||
                      (wish_.gone && wish_.gone(element.comment));
    if (!goes) {
      ++elements_left_;
      continue;
    }
    --references_[element.target.chain];
    removed_elements_.push_back(element);
  }
  for (const MapElement& element : wanted) ++references_[element.target.chain];
  added_elements_ = std::move(wanted);
}

void PolicyPlan::plan_judge() {
  std::vector<std::string> standing_ids;
  for (const auto& [name, chain] : standing_.chains)
    if (const auto id = id_in_judge_chain(name, wish_.network)) standing_ids.push_back(*id);
  const std::string open_id = policy_id(CompiledPolicy{}, {});
  if (wish_.rules) {
    judge_id_ = policy_id(wish_.rules->lists, log_prefix_);
    want(wish_.rules->lists, *judge_id_);
  } else if (!standing_ids.empty()) {
    judge_id_ = standing_ids.front();
  }
  // Lists that close nothing need a judge only for VMs with a policy of their own.
  if (wish_.remove_all || (judge_id_ == open_id && elements_left_ == 0)) judge_id_.reset();
  for (const std::string& id : standing_ids) {
    if (id == judge_id_ && standing_.rules.contains(judge_chain(wish_.network, id)) &&
        standing_.rules.at(judge_chain(wish_.network, id)) == kJudgeRules)
      continue;
    --references_[policy_chain(id)];
    old_judges_.push_back(judge_chain(wish_.network, id));
  }
  const bool kept = judge_id_ && std::ranges::find(standing_ids, *judge_id_) != standing_ids.end() &&
                    std::ranges::find(old_judges_, judge_chain(wish_.network, *judge_id_)) == old_judges_.end();
  new_judge_ = judge_id_ && !kept;
  if (new_judge_) ++references_[policy_chain(*judge_id_)];
}

std::vector<Rule> PolicyPlan::wanted_selectors() const {
  std::vector<Rule> rules;
  const std::string judge = judge_chain(wish_.network, *judge_id_);
  for (const StandingRule& standing : standing_.selectors)
    if (standing.rule) add_once(rules, selector(standing.rule->matches, judge, wish_.network));
  if (!wish_.selector) return rules;
  if (!wish_.selector->bridge.empty())
    add_once(rules, selector({{.field = Field::kInput, .interface = wish_.selector->bridge}}, judge, wish_.network));
  else if (wish_.selector->group != 0)
    add_once(rules, selector({{.field = Field::kInputGroup, .group = wish_.selector->group}}, judge, wish_.network));
  if (wish_.selector->bridge.empty())
    for (const addr::Cidr& subnet : wish_.selector->subnets)
      add_once(rules, selector({{.field = Field::kSource, .prefix = subnet.network()}}, judge, wish_.network));
  return rules;
}

void PolicyPlan::plan_selectors() {
  std::vector<Rule> wanted;
  if (judge_id_) wanted = wanted_selectors();
  for (const StandingRule& standing : standing_.selectors) {
    const auto same =
        std::ranges::find_if(wanted, [&](const Rule& rule) { return standing.rule && standing.rule->same_as(rule); });
    // A rule that leads to a judge that is made anew is made anew, too.
    if (same != wanted.end() && !new_judge_)
      wanted.erase(same);
    else
      old_selectors_.push_back(standing.handle);
  }
  new_selectors_ = std::move(wanted);
}

void PolicyPlan::plan_policies() {
  for (const auto& [chain, change] : references_)
    if (change > 0 && !stands(chain)) new_policies_.push_back(id_of_policy_chain(chain));
  for (const auto& [name, chain] : standing_.chains) {
    if (!is_policy_chain(name)) continue;
    const auto rules = standing_.rules.find(name);
    const int64_t own_rules = rules == standing_.rules.end() ? 0 : rules->second;
    const auto change = references_.find(name);
    const int64_t left = chain.uses - own_rules + (change == references_.end() ? 0 : change->second);
    if (left <= 0) removed_policies_.push_back(id_of_policy_chain(name));
  }
  if (!judge_id_ && stands(egress_chain(wish_.network))) removed_chains_.push_back(egress_chain(wish_.network));
}

bool PolicyPlan::plan_segregation(const std::string& chain, uint32_t rules) {
  const auto standing = standing_.rules.find(chain);
  const bool whole = standing != standing_.rules.end() && standing->second == rules;
  const bool wanted = wish_.rules && wish_.rules->segregated;
  if (stands(chain) && (wish_.remove_all || (wanted && !whole))) removed_chains_.push_back(chain);
  return wanted && !whole;
}

void PolicyPlan::plan_ingress() {
  if (!wish_.rules && !wish_.remove_all) return;
  new_detection_ = plan_segregation(detection_chain(wish_.network), kDetectionRules);
  new_redirects_ = plan_segregation(redirects_chain(wish_.network), kRedirectsRules);
  const Ingress wanted = wish_.rules ? wish_.rules->ingress : Ingress::kOpen;
  for (const Ingress ingress : {Ingress::kSameBridge, Ingress::kIsolated}) {
    const std::string chain =
        ingress == Ingress::kIsolated ? isolated_chain(wish_.network) : same_bridge_chain(wish_.network);
    const auto rules = standing_.rules.find(chain);
    const bool whole = rules != standing_.rules.end() && rules->second == ingress_rules(ingress);
    if (stands(chain) && (ingress != wanted || !whole)) removed_chains_.push_back(chain);
    if (ingress == wanted && !whole) new_ingress_ = ingress;
  }
}

bool PolicyPlan::empty() const {
  return removed_elements_.empty() && added_elements_.empty() && !new_judge_ && old_judges_.empty() &&
         old_selectors_.empty() && new_selectors_.empty() && removed_policies_.empty() && removed_chains_.empty() &&
         !new_ingress_ && !new_detection_ && !new_redirects_;
}

bool PolicyPlan::removes_chain(const std::string& name) const {
  if (std::ranges::find(old_judges_, name) != old_judges_.end()) return true;
  if (std::ranges::find(removed_chains_, name) != removed_chains_.end()) return true;
  return std::ranges::any_of(removed_policies_, [&](const std::string& id) {
    return name == policy_chain(id) || name == drop_chain(id) || name == pass_chain(id);
  });
}

bool PolicyPlan::removes_map(const std::string& name) const {
  if (!judge_id_ && (name == own_map(wish_.network, addr::Family::kIpv4).name ||
                     name == own_map(wish_.network, addr::Family::kIpv6).name))
    return true;
  return std::ranges::any_of(removed_policies_, [&](const std::string& id) {
    return std::ranges::any_of(policy_maps({.id = id}), [&](const MapSpec& map) { return map.name == name; });
  });
}

void PolicyPlan::put_new_policies(MessageBuffer& out) const {
  for (const std::string& id : new_policies_) {
    const auto policy = wanted_policies_.find(id);
    if (policy == wanted_policies_.end()) continue;  // the judge of DEL is one that stands
    put_policy(out, {.id = id, .log_prefix = log_prefix_}, policy->second);
  }
}

void PolicyPlan::put_elements(MessageBuffer& out) const {
  for (const addr::Family family : kFamilies) {
    const MapSpec map = own_map(wish_.network, family);
    std::vector<MapElement> added;
    for (const MapElement& element : removed_elements_)
      if (element.addresses.family() == family) delete_map_element(out, map, element.addresses.first);
    for (const MapElement& element : added_elements_)
      if (element.addresses.family() == family) added.push_back(element);
    put_map_elements(out, map, added);
  }
}

// What leads somewhere goes before what it leads to: the kernel keeps a chain in use (EBUSY).
void PolicyPlan::put_removals(MessageBuffer& out) const {
  for (const std::string& chain : removed_chains_) delete_chain(out, place_of(chain));
  for (const std::string& judge : old_judges_)
    if (judge_id_ != id_in_judge_chain(judge, wish_.network)) delete_chain(out, place_of(judge));
  if (!judge_id_) {
    for (const addr::Family family : kFamilies) {
      const MapSpec map = own_map(wish_.network, family);
      if (std::ranges::find(standing_.maps, map.name) != standing_.maps.end()) delete_map(out, map);
    }
  }
  for (const std::string& id : removed_policies_) delete_policy(out, {.id = id}, standing_.maps);
}

void PolicyPlan::put(MessageBuffer& out) const {
  put_new_policies(out);
  for (const uint64_t handle : old_selectors_) delete_rule(out, place_of(egress_chain(wish_.network)), handle);
  // A judge that lacks rules is made anew under its own name.
  if (judge_id_ && std::ranges::find(old_judges_, judge_chain(wish_.network, *judge_id_)) != old_judges_.end())
    delete_chain(out, place_of(judge_chain(wish_.network, *judge_id_)));
  if (judge_id_) {
    for (const addr::Family family : kFamilies) {
      const MapSpec map = own_map(wish_.network, family);
      if (std::ranges::find(standing_.maps, map.name) == standing_.maps.end()) put_map(out, map);
    }
    if (new_judge_) put_judge(out, wish_.network, *judge_id_);
    if (!stands(egress_chain(wish_.network)))
      put_base_chain(out, place_of(egress_chain(wish_.network)), egress_hook(), network_mark(wish_.network));
  }
  for (const Rule& rule : new_selectors_) put_rule(out, place_of(egress_chain(wish_.network)), rule, Position::kEnd);
  put_elements(out);
  put_removals(out);
  if (new_detection_ && wish_.selector) put_detection(out, wish_.network, wish_.selector->bridge);
  if (new_redirects_ && wish_.selector) put_redirects(out, wish_.network, wish_.selector->bridge);
  if (new_ingress_ && wish_.selector) put_ingress(out, wish_.network, wish_.selector->bridge, *new_ingress_);
}

}  // namespace slicer::netfilter
