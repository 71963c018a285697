#include "lib/netfilter/iptables/policy.h"

#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <span>
#include <utility>

namespace slicer::netfilter {
namespace {

constexpr const char* kPolicyPrefix = "slicer-pol-";
constexpr const char* kPolicyComment = "drop and allow lists of slicer-firewall";
constexpr size_t kIdLength = 12;

// As in nftables/policy.cc: a flood of dropped packets must not become a flood of log messages.
constexpr uint32_t kLogPerSecond = 10;
constexpr uint32_t kLogBurst = 20;

/// Three digits of base 36: 46,656 chains of a tree, enough for 700,000 intervals.
std::string node_name(const std::string& prefix, size_t number) {
  constexpr std::string_view kDigits = "0123456789abcdefghijklmnopqrstuvwxyz";
  std::string digits(3, '0');
  for (size_t i = digits.size(); i > 0; --i, number /= kDigits.size()) digits[i - 1] = kDigits[number % kDigits.size()];
  return prefix + digits;
}

std::string end_chain(const std::string& id, PolicyVerdict verdict) {
  return verdict == PolicyVerdict::kAllow ? ipt_pass_chain(id) : ipt_drop_chain(id);
}

/// Ports of one address range, and where they lead.
struct PortStep {
  PortRange ports = {};
  std::string target = {};
};

std::vector<IptRule> port_rules(const addr::IpRange& range, std::span<const PortStep> steps) {
  std::vector<IptRule> rules;
  for (const PortStep& step : steps) {
    for (const uint8_t protocol : {uint8_t{IPPROTO_TCP}, uint8_t{IPPROTO_UDP}}) {
      IptRule rule{.family = range.family()};
      rule.to_range(range).ports(protocol, step.ports).go(step.target);
      rules.push_back(std::move(rule));
    }
  }
  return rules;
}

/// A tree over the ports of one address range; the rules of its root.
std::vector<IptRule> port_tree(const IptTree& tree, const addr::IpRange& range, std::vector<PortStep> steps,
                               IptChains& chains) {
  constexpr size_t kSteps = kFanout / 2;  // each is a rule of TCP and one of UDP
  while (steps.size() > kSteps) {
    std::vector<PortStep> above;
    for (std::span<const PortStep> left = steps; !left.empty();) {
      const auto part = left.first(std::min(kSteps, left.size()));
      left = left.subspan(part.size());
      const std::string name = node_name(tree.node_prefix, chains.size());
      std::vector<IptRule> rules = port_rules(range, part);
      rules.push_back(IptRule{.family = range.family()}.go(tree.miss));
      chains[name] = std::move(rules);
      above.push_back({.ports = {.first = part.front().ports.first, .last = part.back().ports.last}, .target = name});
    }
    steps = std::move(above);
  }
  return port_rules(range, steps);
}

std::vector<IptLeaf> port_leaves(const IptTree& tree, const std::string& id, const CompiledPolicy& policy,
                                 IptChains& chains) {
  std::vector<IptLeaf> leaves;
  const std::vector<PortVerdict> pieces = cut_to_stretches(policy.ports, tree.family);
  for (auto piece = pieces.begin(); piece != pieces.end();) {
    const addr::IpRange range = piece->addresses;
    std::vector<PortStep> steps;
    for (; piece != pieces.end() && piece->addresses == range; ++piece)
      steps.push_back({.ports = piece->ports, .target = end_chain(id, piece->verdict)});
    leaves.push_back({.range = range, .rules = port_tree(tree, range, std::move(steps), chains)});
  }
  return leaves;
}

std::vector<IptLeaf> address_leaves(const IptPolicySpec& spec, const CompiledPolicy& policy) {
  std::vector<IptLeaf> leaves;
  for (const AddressVerdict& one : policy.addresses) {
    if (one.addresses.family() != spec.family) continue;
    IptRule rule{.family = spec.family};
    rule.to_range(one.addresses).go(end_chain(spec.id, one.verdict));
    leaves.push_back({.range = one.addresses, .rules = {std::move(rule)}});
  }
  return leaves;
}

void put_ends(const IptPolicySpec& spec, IptChains& chains) {
  std::vector<IptRule>& drop = chains[ipt_drop_chain(spec.id)];
  const IptRule plain{.family = spec.family};
  if (!spec.log_prefix.empty()) {
    IptRule log = plain;
    log.limit(kLogPerSecond, kLogBurst).log(kLogGroup, spec.log_prefix);
    drop.push_back(std::move(log));
  }
  drop.push_back(IptRule(plain).says(kPolicyComment).jump("DROP"));
  chains[ipt_pass_chain(spec.id)].push_back(IptRule(plain).says(kPolicyComment).jump("RETURN"));
}

IptLeaf put_node(const IptTree& tree, std::vector<IptLeaf> part, IptChains& chains) {
  const std::string name = node_name(tree.node_prefix, chains.size());
  const addr::IpRange range{.first = part.front().range.first, .last = part.back().range.last};
  std::vector<IptRule>& rules = chains[name];
  for (IptLeaf& leaf : part) std::ranges::move(leaf.rules, std::back_inserter(rules));
  if (!tree.miss.empty()) rules.push_back(IptRule{.family = tree.family}.go(tree.miss));
  IptRule to{.family = tree.family};
  if (tree.by_source)
    to.from_range(range).go(name);
  else
    to.to_range(range).go(name);
  return {.range = range, .rules = {std::move(to)}};
}

/// Cuts leaves into parts of at most kFanout rules; a leaf is never cut.
std::vector<std::vector<IptLeaf>> cut(std::vector<IptLeaf> leaves) {
  std::vector<std::vector<IptLeaf>> parts;
  size_t rules = 0;
  for (IptLeaf& leaf : leaves) {
    if (parts.empty() || rules + leaf.rules.size() > kFanout) {
      parts.emplace_back();
      rules = 0;
    }
    rules += leaf.rules.size();
    parts.back().push_back(std::move(leaf));
  }
  return parts;
}

struct RulePlace {
  std::string pass = {};
  std::string drop = {};
  bool last = false;  ///< of its chain: what is left goes there
};

/// TCP rules stand for those of UDP, too: they come in pairs.
void add_rule(CompiledPolicy& policy, const IptRule& rule, const RulePlace& place) {
  if (rule.target != place.pass && rule.target != place.drop) return;
  const PolicyVerdict verdict = rule.target == place.pass ? PolicyVerdict::kAllow : PolicyVerdict::kDrop;
  const addr::IpRange all{.first = addr::Ip(rule.family, 0), .last = addr::Ip(rule.family, ~addr::Uint128{0})};
  const std::optional<addr::IpRange> range = rule.destination_range();
  if (rule.protocol == IPPROTO_TCP) {
    if (const auto ports = rule.destination_ports())
      policy.ports.push_back({.addresses = range.value_or(all), .ports = *ports, .verdict = verdict});
  } else if (rule.protocol == 0 && !range && place.last) {
    policy.fallback = verdict;
  } else if (rule.protocol == 0) {
    policy.addresses.push_back({.addresses = range.value_or(all), .verdict = verdict});
  }
}

}  // namespace

std::string ipt_policy_chain(const std::string& id) { return kPolicyPrefix + id; }
std::string ipt_drop_chain(const std::string& id) { return ipt_policy_chain(id) + "-drop"; }
std::string ipt_pass_chain(const std::string& id) { return ipt_policy_chain(id) + "-pass"; }

std::string id_in_ipt_policy(const std::string& chain) {
  const size_t start = std::string_view(kPolicyPrefix).size();
  if (!chain.starts_with(kPolicyPrefix) || chain.size() < start + kIdLength) return {};
  return chain.substr(start, kIdLength);
}

std::vector<IptRule> build_tree(const IptTree& tree, std::vector<IptLeaf> leaves, IptChains& chains) {
  const auto fits = [](const std::vector<IptLeaf>& level) {
    size_t rules = 0;
    for (const IptLeaf& leaf : level) rules += leaf.rules.size();
    return rules <= kFanout;
  };
  while (!fits(leaves)) {
    std::vector<IptLeaf> above;
    for (std::vector<IptLeaf>& part : cut(std::move(leaves))) above.push_back(put_node(tree, std::move(part), chains));
    leaves = std::move(above);
  }
  std::vector<IptRule> root;
  for (IptLeaf& leaf : leaves) std::ranges::move(leaf.rules, std::back_inserter(root));
  return root;
}

IptChains policy_chains(const IptPolicySpec& spec, const CompiledPolicy& policy) {
  IptChains chains;
  const std::string root = ipt_policy_chain(spec.id);
  const std::string fallback = end_chain(spec.id, policy.fallback);
  put_ends(spec, chains);
  const std::string addresses = root + "-a";
  std::vector<IptRule> rules = build_tree({.family = spec.family, .node_prefix = root + "-n", .miss = fallback},
                                          address_leaves(spec, policy), chains);
  rules.push_back(IptRule{.family = spec.family}.go(fallback));
  const IptTree tree{.family = spec.family, .node_prefix = root + "-p", .miss = addresses};
  std::vector<IptLeaf> ports = port_leaves(tree, spec.id, policy, chains);
  if (ports.empty()) {
    chains[root] = std::move(rules);
    return chains;
  }
  chains[addresses] = std::move(rules);
  std::vector<IptRule> port_root = build_tree(tree, std::move(ports), chains);
  port_root.push_back(IptRule{.family = spec.family}.go(addresses));
  chains[root] = std::move(port_root);
  return chains;
}

void add_policy(CompiledPolicy& policy, const IptChains& chains, const std::string& id) {
  const std::string pass = ipt_pass_chain(id);
  const std::string drop = ipt_drop_chain(id);
  for (const auto& [name, rules] : chains) {
    if (id_in_ipt_policy(name) != id) continue;
    for (size_t i = 0; i < rules.size(); ++i)
      add_rule(policy, rules[i], {.pass = pass, .drop = drop, .last = i + 1 == rules.size()});
  }
  std::ranges::sort(policy.addresses, {}, [](const AddressVerdict& one) { return one.addresses.first; });
  policy.ports = join_pieces(policy.ports);
}

}  // namespace slicer::netfilter
