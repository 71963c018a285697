#include "lib/netfilter/nftables/policy_reading.h"

#include <libnftnl/expr.h>
#include <linux/netfilter/nf_tables.h>

#include <string_view>

#include "lib/netfilter/nftables/handles.h"
#include "lib/netfilter/nftables/policy_plan.h"

namespace slicer::netfilter {
namespace {

/// What the rules of one chain count and do, as far as a policy's ends have it.
struct ChainFacts {
  uint64_t packets = 0;
  bool logs = false;
  std::string last_target = {};
};

void read_facts(const nlmsghdr* message, ChainFacts& facts) {
  const RulePtr rule(nftnl_rule_alloc());
  if (nftnl_rule_nlmsg_parse(message, rule.get()) < 0) return;
  nftnl_expr_iter* iterator = nftnl_expr_iter_create(rule.get());
  if (iterator == nullptr) return;
  while (const nftnl_expr* expression = nftnl_expr_iter_next(iterator)) {
    const std::string_view name = nftnl_expr_get_str(expression, NFTNL_EXPR_NAME);
    if (name == "counter") facts.packets += nftnl_expr_get_u64(expression, NFTNL_EXPR_CTR_PACKETS);
    if (name == "log") facts.logs = true;
    if (name == "immediate" && nftnl_expr_is_set(expression, NFTNL_EXPR_IMM_CHAIN))
      facts.last_target = nftnl_expr_get_str(expression, NFTNL_EXPR_IMM_CHAIN);
  }
  nftnl_expr_iter_destroy(iterator);
}

class PolicyReader {
 public:
  PolicyReader(NftSession& session, const PolicyPlace& place) : session_(session), place_(place) {}

  Result<std::optional<PolicyInForce>> run() {
    PolicyInForce found;
    const ChainFacts dispatch = TRY(facts_of(policy_chain(place_.id)));
    const ChainFacts drop = TRY(facts_of(drop_chain(place_.id)));
    const ChainFacts pass = TRY(facts_of(pass_chain(place_.id)));
    found.dropped = drop.packets;
    found.passed = pass.packets;
    found.log = drop.logs;
    found.policy.fallback =
        dispatch.last_target == pass_chain(place_.id) ? PolicyVerdict::kAllow : PolicyVerdict::kDrop;
    for (const MapSpec& map : policy_maps(place_)) TRY(read_map(map, found.policy));
    if (interrupted_) return std::nullopt;
    return found;
  }

 private:
  Result<ChainFacts> facts_of(const std::string& chain) {
    ChainFacts facts;
    MessageBuffer question;
    ask_rules(question, {.family = place_.family, .table = place_.table, .chain = chain});
    const Answers answers = TRY(session_.ask(question, [&](uint32_t, const nlmsghdr* message) {
      if (kind_of(message) == AnswerKind::kRule) read_facts(message, facts);
    }));
    interrupted_ = interrupted_ || answers.interrupted;
    return facts;
  }

  Result<void> read_map(const MapSpec& map, CompiledPolicy& into) {
    MapReader reader(map);
    MessageBuffer question;
    (void)ask_map_elements(question, map);
    const Answers answers = TRY(session_.ask(question, [&](uint32_t, const nlmsghdr* message) {
      if (kind_of(message) == AnswerKind::kElements) reader.read(message);
    }));
    interrupted_ = interrupted_ || answers.interrupted;
    add_elements(into, reader.take(), place_.id);
    return {};
  }

  NftSession& session_;
  const PolicyPlace& place_;
  bool interrupted_ = false;
};

std::string id_of(const std::string& policy_chain_name) { return policy_chain_name.substr(policy_chain("").size()); }

}  // namespace

Result<std::optional<PolicyInForce>> read_policy(NftSession& session, const PolicyPlace& place) {
  return PolicyReader(session, place).run();
}

Result<std::optional<PoliciesInForce>> read_policies_in_force(NftSession& session, const std::string& network) {
  const PolicyReading reading = TRY(read_policies(session, network));
  if (reading.interrupted) return std::nullopt;
  PoliciesInForce found;
  for (const auto& [name, chain] : reading.standing.chains)
    if (const auto id = id_in_judge_chain(name, network)) found.lists = *id;
  for (const MapElement& element : reading.standing.own)
    found.vms.push_back(
        {.owner = element.comment, .address = element.addresses.first, .policy = id_of(element.target.chain)});
  std::vector<std::string> ids;
  if (found.lists) ids.push_back(*found.lists);
  for (const VmInForce& vm : found.vms) ids.push_back(vm.policy);
  for (const std::string& id : ids) {
    if (found.policies.contains(id)) continue;
    std::optional<PolicyInForce> policy = TRY(read_policy(session, {.id = id}));
    if (!policy) return std::nullopt;
    found.policies.emplace(id, std::move(*policy));
  }
  return found;
}

}  // namespace slicer::netfilter
