#include "lib/netfilter/iptables/foreign.h"

#include <algorithm>
#include <array>

#include "lib/netfilter/bridge_lists.h"
#include "lib/netfilter/iptables/backend.h"
#include "lib/netfilter/iptables/chains.h"
#include "lib/netfilter/iptables/place.h"

namespace slicer::netfilter {
namespace {

using addr::Family;

constexpr std::array kFamilies{Family::kIpv4, Family::kIpv6};
constexpr std::array kTables{IptTable::kFilter, IptTable::kNat, IptTable::kMangle};
constexpr std::array kBuiltIn{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"};
constexpr const char* kForwardChain = "FORWARD";
constexpr const char* kUserChain = "DOCKER-USER";

bool is_built_in(const std::string& chain) { return std::ranges::find(kBuiltIn, chain) != kBuiltIn.end(); }

bool holds_others(const IptSession& session) {
  return std::ranges::any_of(session.chains(), [&](const std::string& chain) {
    if (chain.starts_with(kOurChains)) return false;
    if (!is_built_in(chain)) return true;
    return session.drops_by_default(chain) || std::ranges::any_of(session.rules(chain), [](const StandingIptRule& one) {
             return !one.rule.target.starts_with(kOurChains);
           });
  });
}

/// Calls `look` with each table that is there.
template <class Look>
Result<void> look_at_tables(const Look& look) {
  for (const Family family : kFamilies) {
    const std::vector<std::string> there = tables_in_use(family);
    for (const IptTable table : kTables) {
      if (std::ranges::find(there, table_name(table)) == there.end()) continue;
      const std::unique_ptr<IptSession> session = TRY(IptSession::open(family, table));
      look(family, table, *session);
    }
  }
  return {};
}

bool has_chain(const IptSession& session, std::string_view prefix) {
  return std::ranges::any_of(session.chains(), [&](const std::string& chain) { return chain.starts_with(prefix); });
}

std::vector<std::string> opened_in(const IptSession& session) {
  std::vector<std::string> marks;
  for (const char* chain : {kUserChain, kForwardChain})
    for (const StandingIptRule& one : session.rules(chain))
      if (one.rule.target.starts_with(kOurChains)) marks.push_back(one.rule.comment());
  return marks;
}

ForeignFirewall describe(Family family, const IptSession& session) {
  const bool docker = has_chain(session, "DOCKER");
  const bool ufw = has_chain(session, "ufw-") || has_chain(session, "ufw6-");
  return {.program = ufw      ? "ufw"
                     : docker ? "docker"
                              : "iptables",
          .family = family == Family::kIpv4 ? "ip" : "ip6",
          .table = "filter (legacy)",
          .chain = kForwardChain,
          .opening_chain = session.has_chain(kUserChain) ? kUserChain : kForwardChain,
          .opened = opened_in(session),
          .remedy = "slicer-firewall opens it: run CHECK, or start a VM on the network, when an opening is gone"};
}

/// The families whose FORWARD drops, as the forwarding to be opened there.
Result<std::vector<NetworkRules>> openings(const std::string& network, const Forward& forward) {
  std::vector<NetworkRules> wanted;
  for (const Family family : kFamilies) {
    if (!is_in_use(family, IptTable::kFilter)) continue;
    if (!TRY(IptSession::open(family, IptTable::kFilter))->drops_by_default(kForwardChain)) continue;
    Forward own = forward;
    std::erase_if(own.subnets, [&](const addr::Cidr& subnet) { return subnet.family() != family; });
    if (own.subnets.empty() && !forward.subnets.empty()) continue;
    wanted.push_back({.network = network, .forward = std::move(own)});
  }
  return wanted;
}

}  // namespace

bool legacy_tables_exist() {
  return std::ranges::any_of(kFamilies, [](Family family) { return !tables_in_use(family).empty(); });
}

Result<std::vector<std::string>> legacy_tables_of_others() {
  std::vector<std::string> tables;
  TRY(look_at_tables([&](Family, IptTable table, const IptSession& session) {
    const char* name = table_name(table);
    if (holds_others(session) && std::ranges::find(tables, name) == tables.end()) tables.emplace_back(name);
  }));
  return tables;
}

Result<std::vector<BridgeLists>> bridge_lists_in_legacy() {
  std::vector<BridgeLists> found;
  TRY(look_at_tables([&](Family, IptTable, const IptSession& session) {
    for (const std::string& chain : session.chains()) {
      if (!is_hooked_kind(chain)) continue;
      for (const StandingIptRule& one : session.rules(chain)) {
        const std::string mark = one.rule.comment();
        if (!one.rule.input || one.rule.input->begins || !mark.starts_with(network_mark(""))) continue;
        BridgeLists lists{.bridge = one.rule.input->name, .network = network_of_mark(mark)};
        if (chain == ipt_chain(IptPart::kEgress, lists.network)) {
          const std::vector<StandingIptRule> judge = session.rules(one.rule.target);
          if (!judge.empty()) lists.policy = id_in_ipt_policy(judge.back().rule.target);
        } else if (chain != ipt_chain(IptPart::kForward, lists.network)) {
          continue;
        }
        found.push_back(std::move(lists));
      }
    }
  }));
  return found;
}

Result<bool> is_network_in_legacy(const std::string& network) {
  bool found = false;
  TRY(look_at_tables([&](Family, IptTable, const IptSession& session) {
    // Forwarding alone may be the opening of a network that stands in nftables, and a bridge be listed of any.
    for (const IptPart part : {IptPart::kMasquerade, IptPart::kEgress, IptPart::kIngress, IptPart::kWithin})
      found = found || session.has_chain(ipt_chain(part, network));
  }));
  return found;
}

Result<NetworkParts> parts_in_legacy(const std::string& network) {
  NetworkParts parts;
  TRY(look_at_tables([&](Family, IptTable table, const IptSession& session) {
    const auto has = [&](IptPart part) { return session.has_chain(ipt_chain(part, network)); };
    if (table == IptTable::kNat) parts.masquerade = parts.masquerade || has(IptPart::kMasquerade);
    if (table == IptTable::kFilter) parts.forward = parts.forward || has(IptPart::kForward);
    if (table != IptTable::kMangle) return;
    parts.policy = parts.policy || has(IptPart::kEgress) || has(IptPart::kIngress);
    parts.within = parts.within || has(IptPart::kWithin);
    parts.segregation = parts.segregation || has(IptPart::kDetection) || has(IptPart::kRedirects);
  }));
  return parts;
}

Result<void> remove_legacy_parts(const std::string& network, const NetworkParts& parts) {
  const auto remove = [&](IptTable table, IptPart part) -> Result<void> {
    std::vector<IptPlace> places;
    for (const Family family : kFamilies) {
      if (!is_in_use(family, table)) continue;
      // The opening of a network that stands in nftables.
      if (part == IptPart::kForward && TRY(IptSession::open(family, table))->drops_by_default(kForwardChain)) continue;
      places.push_back({.table = table, .family = family});
    }
    return change_places(places, [&](const IptImage& standing) { return plan_part_removal(standing, network, part); });
  };
  if (parts.masquerade) TRY(remove(IptTable::kNat, IptPart::kMasquerade));
  if (parts.forward) TRY(remove(IptTable::kFilter, IptPart::kForward));
  if (parts.within) TRY(remove(IptTable::kMangle, IptPart::kWithin));
  if (!parts.segregation) return {};
  TRY(remove(IptTable::kMangle, IptPart::kDetection));
  return remove(IptTable::kMangle, IptPart::kRedirects);
}

Result<std::vector<ForeignFirewall>> find_legacy_firewalls() {
  std::vector<ForeignFirewall> found;
  TRY(look_at_tables([&](Family family, IptTable table, const IptSession& session) {
    if (table == IptTable::kFilter && session.drops_by_default(kForwardChain))
      found.push_back(describe(family, session));
  }));
  return found;
}

Result<void> ensure_legacy_opening(const std::string& network, const Forward& forward) {
  for (const NetworkRules& rules : TRY(openings(network, forward))) TRY(make_iptables_backend()->ensure(rules));
  return {};
}

Result<void> check_legacy_opening(const std::string& network, const Forward& forward) {
  for (const NetworkRules& rules : TRY(openings(network, forward))) TRY(make_iptables_backend()->check(rules));
  return {};
}

}  // namespace slicer::netfilter
