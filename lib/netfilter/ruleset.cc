#include "lib/netfilter/ruleset.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/base/hash.h"

namespace slicer::netfilter {
namespace {

constexpr size_t kMaxMark = 127;       // libnftnl: NFTNL_UDATA_COMMENT_MAXLEN counts the closing zero
constexpr size_t kMaxChainName = 200;  // linux/netfilter/nf_tables.h: NFT_NAME_MAXLEN is 256, so the kernel has room
constexpr size_t kHashLength = 12;
// Part of every policy's hash: a release that writes a policy's chain in another way counts this up, and the next ADD
// replaces what the older one left.
constexpr const char* kPolicyForm = "1\n";

/// `text`, or its beginning, `separator` and the hash of all of it.
std::string cut(const std::string& text, size_t limit, char separator) {
  if (text.size() <= limit) return text;
  return text.substr(0, limit - kHashLength - 1) + separator + base32(hash_names({text}), kHashLength);
}

// Multicast never leaves a network under the host's address, as upstream's masquerading has it.
addr::Cidr multicast(addr::Family family) {
  if (family == addr::Family::kIpv4) return {.ip = addr::Ip(family, addr::Uint128{0xe0000000U}), .prefix = 4};
  return {.ip = addr::Ip(family, addr::Uint128{0xff} << 120), .prefix = 8};
}

Match on_interface(Field field, const Forward& forward) {
  return {.field = field, .interface = forward.bridge, .begins = forward.any_link};
}
Match on_prefix(Field field, const addr::Cidr& prefix, bool negate = false) {
  return {.field = field, .negate = negate, .prefix = prefix};
}

/// Networks of the prefixes, sorted, each once.
std::vector<addr::Cidr> normalize(const std::vector<addr::Cidr>& subnets) {
  std::vector<addr::Cidr> sorted;
  sorted.reserve(subnets.size());
  for (const addr::Cidr& subnet : subnets) sorted.push_back(subnet.network());
  std::ranges::sort(sorted, [](const addr::Cidr& a, const addr::Cidr& b) {
    return a.ip != b.ip ? a.ip < b.ip : a.prefix < b.prefix;
  });
  const auto repeated = std::ranges::unique(sorted);
  sorted.erase(repeated.begin(), repeated.end());
  return sorted;
}

Rule masquerade_rule(const addr::Cidr& subnet, const std::string& mark) {
  return {.matches = {on_prefix(Field::kSource, subnet), on_prefix(Field::kDestination, subnet, true),
                      on_prefix(Field::kDestination, multicast(subnet.family()), true)},
          .verdict = Verdict::kMasquerade,
          .comment = mark};
}

Rule link_masquerade_rule(const std::string& links, const std::string& mark) {
  return {.matches = {{.field = Field::kInput, .interface = links, .begins = true},
                      on_prefix(Field::kDestination, multicast(addr::Family::kIpv4), true)},
          .verdict = Verdict::kMasquerade,
          .comment = mark};
}

/// A single address says nothing of the network: towards a bridge the interface alone selects then, and the rules stay
/// as many as they are with one VM.
bool is_single_address(const addr::Cidr& subnet) { return subnet.prefix == addr::bits_of(subnet.family()); }

void add_once(std::vector<Rule>& rules, Rule rule) {
  if (std::ranges::none_of(rules, [&](const Rule& there) { return there.same_as(rule); }))
    rules.push_back(std::move(rule));
}

std::vector<Rule> bridge_rules(const Forward& forward, const std::vector<addr::Cidr>& subnets, const Rule& form) {
  std::vector<Rule> rules;
  const auto add = [&](std::vector<Match> matches) {
    Rule rule = form;
    rule.matches = std::move(matches);
    add_once(rules, std::move(rule));
  };
  add({on_interface(Field::kInput, forward)});
  for (const addr::Cidr& subnet : subnets) {
    if (is_single_address(subnet))
      add({on_interface(Field::kOutput, forward)});
    else
      add({on_interface(Field::kOutput, forward), on_prefix(Field::kDestination, subnet)});
  }
  return rules;
}

std::vector<Rule> subnet_rules(const std::vector<addr::Cidr>& subnets, const Rule& form) {
  std::vector<Rule> rules;
  for (const addr::Cidr& subnet : subnets) {
    for (const Field field : {Field::kSource, Field::kDestination}) {
      Rule rule = form;
      rule.matches = {on_prefix(field, subnet)};
      rules.push_back(std::move(rule));
    }
  }
  return rules;
}

std::vector<Rule> forward_rules(const Forward& forward, const std::vector<addr::Cidr>& subnets, const Rule& form) {
  return forward.bridge.empty() ? subnet_rules(subnets, form) : bridge_rules(forward, subnets, form);
}

/// Isolated VMs know a bridge of ours by the set of bridges; a network that has none, by its subnets. IPv6 of theirs is
/// closed altogether.
Chain routed_chain(const NetworkRules& rules) {
  const std::string mark = network_mark(rules.network);
  Chain chain{.name = routed_chain_name(rules.network), .hook = Hook::kForward, .comment = mark};
  if (!rules.forward || !rules.forward->bridge.empty()) return chain;
  for (const addr::Cidr& subnet : normalize(rules.forward->subnets)) {
    if (!subnet.ip.is_v4()) continue;
    chain.rules.push_back({.matches = {{.field = Field::kInput, .interface = kIsolatedLinks, .begins = true},
                                       on_prefix(Field::kDestination, subnet)},
                           .verdict = Verdict::kDrop,
                           .comment = mark});
  }
  return chain;
}

}  // namespace

std::string network_mark(const std::string& network) { return cut("slicer:" + network, kMaxMark, '#'); }

std::string vm_mark(const std::string& owner) { return cut(owner, kMaxMark, '#'); }

std::string log_prefix(const std::string& network) { return cut("slicer:" + network, kMaxMark - 1, '#') + " "; }

std::string policy_id(const CompiledPolicy& policy, const std::string& log_prefix) {
  std::string text = kPolicyForm;
  if (!policy.allows_everything()) {
    text += log_prefix + '\n' + (policy.fallback == PolicyVerdict::kAllow ? '+' : '-');
    const auto add = [&](const auto& element) {
      text += element.addresses.text() + (element.verdict == PolicyVerdict::kAllow ? '+' : '-');
    };
    for (const AddressVerdict& element : policy.addresses) add(element);
    for (const PortVerdict& element : policy.ports) {
      add(element);
      text += fmt::format("{}-{}", element.ports.first, element.ports.last);
    }
  }
  return base32(hash_names({text}), kHashLength);
}

std::map<std::string, const CompiledPolicy*> judging_lists(const NetworkRules& rules) {
  std::map<std::string, const CompiledPolicy*> lists;
  if (!rules.policy) return lists;
  const std::string prefix = rules.policy->log ? log_prefix(rules.network) : std::string();
  const auto add = [&](const CompiledPolicy& policy) {
    if (!policy.allows_everything()) lists.emplace(policy_id(policy, prefix), &policy);
  };
  add(rules.policy->lists);
  for (const VmPolicy& vm : rules.policy->vms)
    if (vm.own) add(*vm.own);
  return lists;
}

std::string name_part(const std::string& network) { return cut(network, kMaxChainName, '/'); }

std::string chain_name(Hook hook, const std::string& network) {
  return (hook == Hook::kForward ? "forward-" : "masquerade-") + name_part(network);
}

std::string routed_chain_name(const std::string& network) { return "routed-" + name_part(network); }

std::string within_chain_name(const std::string& network) { return "within-" + name_part(network); }

std::vector<Chain> own_chains(const NetworkRules& rules) {
  const std::string mark = network_mark(rules.network);
  std::vector<Chain> chains;
  if (rules.forward) {
    Chain chain{.name = chain_name(Hook::kForward, rules.network), .hook = Hook::kForward, .comment = mark};
    chain.rules = forward_rules(*rules.forward, normalize(rules.forward->subnets), Rule{.comment = mark});
    if (!chain.rules.empty()) chains.push_back(std::move(chain));
  }
  if (Chain routed = routed_chain(rules); !routed.rules.empty()) chains.push_back(std::move(routed));
  if (rules.closed_bridge) {
    const auto& [name, mac] = *rules.closed_bridge;
    Rule rule{.matches = {{.field = Field::kInput, .interface = name},
                          {.field = Field::kOutput, .interface = name},
                          {.field = Field::kFrameTo, .mac = mac}},
              .verdict = Verdict::kDrop,
              .comment = mark};
    chains.push_back({.name = within_chain_name(rules.network),
                      .hook = Hook::kForward,
                      .comment = mark,
                      .rules = {std::move(rule)}});
  }
  if (masquerades(rules)) {
    Chain chain{
        .name = chain_name(Hook::kPostroutingNat, rules.network), .hook = Hook::kPostroutingNat, .comment = mark};
    for (const addr::Cidr& subnet : normalize(rules.masquerade)) chain.rules.push_back(masquerade_rule(subnet, mark));
    if (!rules.masquerade_links.empty()) chain.rules.push_back(link_masquerade_rule(rules.masquerade_links, mark));
    chains.push_back(std::move(chain));
  }
  return chains;
}

std::vector<Rule> foreign_openings(const std::string& network, const Forward& forward, addr::Family family) {
  std::vector<addr::Cidr> subnets = normalize(forward.subnets);
  const bool any_family = subnets.empty();  // a bridge without addresses carries both
  std::erase_if(subnets, [&](const addr::Cidr& subnet) { return subnet.family() != family; });
  if (subnets.empty() && !any_family) return {};
  return forward_rules(forward, subnets, Rule{.comment = network_mark(network), .counter = true});
}

std::string rule_text(const Rule& rule) {
  std::string text;
  for (const Match& match : rule.matches) {
    const char* equals = match.negate ? "!= " : "";
    switch (match.field) {
      case Field::kInput:
        text += fmt::format("iifname {}\"{}{}\" ", equals, match.interface, match.begins ? "*" : "");
        break;
      case Field::kOutput:
        text += fmt::format("oifname {}\"{}{}\" ", equals, match.interface, match.begins ? "*" : "");
        break;
      case Field::kInputGroup:
        text += fmt::format("iifgroup {}{} ", equals, match.group);
        break;
      case Field::kFrameTo:
        text += fmt::format("ether daddr {}{} ", equals, match.mac.text());
        break;
      case Field::kSource:
      case Field::kDestination:
        text += fmt::format("{} {} {}{} ", match.prefix.ip.is_v4() ? "ip" : "ip6",
                            match.field == Field::kSource ? "saddr" : "daddr", equals, match.prefix.text());
        break;
      case Field::kReplies:
        text += "ct state related,established ";
    }
  }
  switch (rule.verdict) {
    case Verdict::kAccept:
      return text + "accept";
    case Verdict::kDrop:
      return text + "drop";
    case Verdict::kMasquerade:
      return text + "masquerade";
    case Verdict::kGoto:
      return text + "goto " + rule.target;
    case Verdict::kJump:
      return text + "jump " + rule.target;
  }
  return text;
}

}  // namespace slicer::netfilter
