#include "lib/netfilter/iptables/chains.h"

#include <netinet/in.h>

#include <algorithm>

#include "lib/base/hash.h"

namespace slicer::netfilter {
namespace {

constexpr size_t kHashLength = 12;
constexpr size_t kMaxLogPrefix = 63;  // linux/netfilter/xt_NFLOG.h: prefix[64]

// As in nftables/policy.cc: RFC 4861, sections 4.1, 4.3, 4.4; RFC 2710 and 3810; RFC 792; RFC 2131; RFC 8415.
constexpr uint8_t kIcmpRedirect = 5;
constexpr uint8_t kNeighbourSolicitation = 135;
constexpr uint8_t kNeighbourAdvertisement = 136;
constexpr uint8_t kRedirect6 = 137;
constexpr uint16_t kDhcpClient = 68;
constexpr uint16_t kDhcpServer = 67;
constexpr uint16_t kDhcp6Client = 546;
constexpr uint16_t kDhcp6Server = 547;

const char* part_name(IptPart part) {
  switch (part) {
    case IptPart::kMasquerade:
      return "msq";
    case IptPart::kForward:
      return "fwd";
    case IptPart::kEgress:
      return "egr";
    case IptPart::kJudge:
      return "jdg";
    case IptPart::kDetection:
      return "dad";
    case IptPart::kIngress:
      return "ing";
    case IptPart::kWithin:
      return "wth";
    case IptPart::kRedirects:
      return "red";
  }
  return "";
}

/// ff02::/16, link-local multicast: never forwarded.
addr::Cidr link_multicast() {
  return {.ip = addr::Ip(addr::Family::kIpv6, addr::Uint128{0xff02} << 112), .prefix = 16};
}

addr::IpRange range_of(const addr::Cidr& prefix) { return {.first = prefix.first(), .last = prefix.last()}; }

void apply(IptRule& out, const Match& match) {
  switch (match.field) {
    case Field::kInput:
      out.in(match.interface, match.negate, match.begins);
      return;
    case Field::kOutput:
      out.out(match.interface, match.negate, match.begins);
      return;
    case Field::kInputGroup:
      out.in_group(match.group);
      return;
    case Field::kSource:
      out.from(match.prefix);
      return;
    case Field::kDestination:
      // A rule has one destination of its own; what is more goes to a match.
      if (out.destination && match.negate)
        out.not_to_range(range_of(match.prefix));
      else
        out.to(match.prefix, match.negate);
      return;
    case Field::kFrameTo:
      out.frame_to(match.mac);
      return;
    case Field::kReplies:
      out.other = true;
  }
}

bool is_of(const Match& match, addr::Family family) {
  const bool address = match.field == Field::kSource || match.field == Field::kDestination;
  return !address || match.prefix.family() == family;
}

std::vector<IptRule> convert_all(const std::vector<Rule>& rules, addr::Family family) {
  std::vector<IptRule> converted;
  for (const Rule& rule : rules)
    if (std::optional<IptRule> one = convert(rule, family)) converted.push_back(std::move(*one));
  return converted;
}

std::vector<IptRule> of_own_chain(const NetworkRules& rules, addr::Family family, const std::string& name) {
  for (const Chain& chain : own_chains(rules))
    if (chain.name == name) return convert_all(chain.rules, family);
  return {};
}

}  // namespace

std::string ipt_chain(IptPart part, const std::string& network) {
  return std::string(kOurChains) + part_name(part) + "-" + base32(hash_names({network}), kHashLength);
}

bool is_hooked_kind(const std::string& chain) {
  for (const IptPart part : {IptPart::kMasquerade, IptPart::kForward, IptPart::kEgress, IptPart::kDetection,
                             IptPart::kIngress, IptPart::kWithin, IptPart::kRedirects})
    if (chain.starts_with(std::string(kOurChains) + part_name(part) + "-")) return true;
  return false;
}

std::optional<IptHook> hook_of(IptPart part) {
  switch (part) {
    case IptPart::kMasquerade:
      return IptHook{.table = IptTable::kNat, .chain = "POSTROUTING", .first = false};
    case IptPart::kForward:
      return IptHook{.table = IptTable::kFilter, .chain = "FORWARD"};
    case IptPart::kEgress:
    case IptPart::kDetection:
      return IptHook{.chain = "PREROUTING"};
    case IptPart::kIngress:
    case IptPart::kWithin:
      return IptHook{.chain = "FORWARD"};
    case IptPart::kRedirects:
      return IptHook{.chain = "OUTPUT"};
    case IptPart::kJudge:
      return std::nullopt;
  }
  return std::nullopt;
}

std::optional<IptRule> convert(const Rule& rule, addr::Family family) {
  IptRule out{.family = family};
  for (const Match& match : rule.matches) {
    if (!is_of(match, family)) return std::nullopt;
    apply(out, match);
  }
  out.says(rule.comment);
  switch (rule.verdict) {
    case Verdict::kAccept:
      out.jump("ACCEPT");
      break;
    case Verdict::kDrop:
      out.jump("DROP");
      break;
    case Verdict::kMasquerade:
      out.masquerade();
      break;
    case Verdict::kGoto:
      out.go(rule.target);
      break;
    case Verdict::kJump:
      out.jump(rule.target);
      break;
  }
  return out;
}

std::vector<IptRule> masquerade_rules(const NetworkRules& rules, addr::Family family) {
  return of_own_chain(rules, family, chain_name(Hook::kPostroutingNat, rules.network));
}

std::vector<IptRule> forward_rules(const NetworkRules& rules, addr::Family family) {
  if (!rules.forward) return {};
  std::vector<IptRule> accepts = convert_all(foreign_openings(rules.network, *rules.forward, family), family);
  if (!accepts.empty() && !rules.forward->admin_chain.empty())
    accepts.insert(accepts.begin(),
                   IptRule{.family = family}.says(network_mark(rules.network)).jump(rules.forward->admin_chain));
  return accepts;
}

std::vector<IptRule> within_rules(const NetworkRules& rules, addr::Family family) {
  if (!rules.closed_bridge) return of_own_chain(rules, family, routed_chain_name(rules.network));
  return of_own_chain(rules, family, within_chain_name(rules.network));
}

std::vector<IptRule> ingress_chain_rules(const NetworkRules& rules, addr::Family family) {
  if (!rules.policy || !rules.forward || rules.policy->ingress == Ingress::kOpen) return {};
  const std::string& bridge = rules.forward->bridge;
  const std::string mark = network_mark(rules.network);
  const IptRule plain{.family = family};
  const bool isolated = rules.policy->ingress == Ingress::kIsolated;
  return {IptRule(plain).out(bridge, true).jump("RETURN"), IptRule(plain).reply_direction().jump("RETURN"),
          IptRule(plain).in(bridge).says(mark).jump(isolated ? "DROP" : "RETURN"),
          IptRule(plain).in("sl", false, true).says(mark).jump("DROP"), IptRule(plain).jump(kBridgesChain)};
}

std::vector<IptRule> detection_rules(const NetworkRules& rules, addr::Family family) {
  if (!rules.policy || !rules.forward || !rules.policy->segregated || family != addr::Family::kIpv6) return {};
  return {IptRule{.family = family}
              .in(rules.forward->bridge)
              .from({.ip = addr::Ip(addr::Family::kIpv6, 0), .prefix = 128})
              .icmp_type(kNeighbourSolicitation)
              .says(network_mark(rules.network))
              .jump("DROP")};
}

std::vector<IptRule> redirects_rules(const NetworkRules& rules, addr::Family family) {
  if (!rules.policy || !rules.forward || !rules.policy->segregated) return {};
  const uint8_t type = family == addr::Family::kIpv4 ? kIcmpRedirect : kRedirect6;
  return {IptRule{.family = family}
              .out(rules.forward->bridge)
              .icmp_type(type)
              .says(network_mark(rules.network))
              .jump("DROP")};
}

std::vector<IptRule> selector_rules(const NetworkRules& rules, addr::Family family) {
  if (!rules.forward) return {};
  const std::string judge = ipt_chain(IptPart::kJudge, rules.network);
  const IptRule plain{.family = family};
  if (!rules.forward->bridge.empty())
    return {IptRule(plain).in(rules.forward->bridge).says(network_mark(rules.network)).go(judge)};
  std::vector<IptRule> selectors;
  if (rules.forward->group != 0)
    selectors.push_back(IptRule(plain).in_group(rules.forward->group).says(network_mark(rules.network)).go(judge));
  for (const addr::Cidr& subnet : rules.forward->subnets)
    if (subnet.family() == family)
      selectors.push_back(IptRule(plain).from(subnet).says(network_mark(rules.network)).go(judge));
  return selectors;
}

// Each exception says where the packet may go, as in nftables/policy.cc.
std::vector<IptRule> always_passing_rules(addr::Family family) {
  const IptRule plain{.family = family};
  std::vector<IptRule> rules{IptRule(plain).reply_direction()};
  if (family == addr::Family::kIpv4) {
    for (const IptAddressType type : {IptAddressType::kBroadcast, IptAddressType::kLocal})
      rules.push_back(IptRule(plain).udp(kDhcpClient, kDhcpServer).destination_type(type));
  } else {
    for (const int type : {131, 132, 133, 135, 136, 143})
      rules.push_back(IptRule(plain).to(link_multicast()).icmp_type(static_cast<uint8_t>(type)));
    for (const uint8_t type : {kNeighbourSolicitation, kNeighbourAdvertisement})
      rules.push_back(IptRule(plain).icmp_type(type).destination_type(IptAddressType::kLocal));
    rules.push_back(IptRule(plain).to(link_multicast()).udp(kDhcp6Client, kDhcp6Server));
  }
  for (IptRule& rule : rules) rule.jump("RETURN");
  return rules;
}

IptRule bridge_rule(const NetworkRules& rules, addr::Family family) {
  return IptRule{.family = family}.in(rules.listed_bridge).says(network_mark(rules.network)).jump("DROP");
}

std::string ipt_log_prefix(const std::string& network) {
  const std::string prefix = log_prefix(network);
  if (prefix.size() <= kMaxLogPrefix) return prefix;
  return prefix.substr(0, kMaxLogPrefix - kHashLength - 2) + "#" + base32(hash_names({network}), kHashLength) + " ";
}

IptChains judge_chains(const std::string& network, addr::Family family, std::vector<IptOwn> own,
                       const std::string& policy) {
  IptChains chains;
  const std::string name = ipt_chain(IptPart::kJudge, network);
  std::ranges::sort(own, {}, &IptOwn::address);
  std::vector<IptLeaf> leaves;
  for (const IptOwn& vm : own) {
    IptRule rule{.family = family};
    rule.from({.ip = vm.address, .prefix = addr::bits_of(family)}).says(vm.owner).go(ipt_policy_chain(vm.policy));
    leaves.push_back({.range = {.first = vm.address, .last = vm.address}, .rules = {std::move(rule)}});
  }
  const std::string miss = ipt_policy_chain(policy);
  std::vector<IptRule> tree = build_tree({.family = family, .node_prefix = name + "-", .by_source = true, .miss = miss},
                                         std::move(leaves), chains);
  std::vector<IptRule> rules = always_passing_rules(family);
  rules.push_back(IptRule{.family = family}.source_elsewhere().jump("DROP"));  // as in nftables/policy.cc
  std::ranges::move(tree, std::back_inserter(rules));
  rules.push_back(IptRule{.family = family}.go(miss));
  chains[name] = std::move(rules);
  return chains;
}

IptJudge read_judge(const IptChains& chains, const std::string& network) {
  IptJudge judge;
  const std::string name = ipt_chain(IptPart::kJudge, network);
  for (const auto& [chain, rules] : chains) {
    if (chain != name && !chain.starts_with(name + "-")) continue;
    for (const IptRule& rule : rules) {
      const std::string id = id_in_ipt_policy(rule.target);
      if (id.empty()) continue;
      if (!rule.source)
        judge.policy = id;
      else if (rule.source->cidr.prefix == addr::bits_of(rule.family))
        judge.own.push_back({.address = rule.source->cidr.ip, .owner = rule.comment(), .policy = id});
    }
  }
  return judge;
}

}  // namespace slicer::netfilter
