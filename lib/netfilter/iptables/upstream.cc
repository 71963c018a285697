#include "lib/netfilter/iptables/upstream.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <set>
#include <utility>

#include "lib/netfilter/iptables/table.h"
#include "lib/netfilter/upstream_rules.h"

namespace slicer::netfilter {
namespace {

constexpr std::array kFamilies{addr::Family::kIpv4, addr::Family::kIpv6};
constexpr const char* kPostrouting = "POSTROUTING";
// The lock keeps other iptables away; who does without it can still come between reading and writing (EAGAIN).
constexpr int kMaxRounds = 20;

/// Absent: it says something that upstream's never say.
std::optional<Rule> as_plain(const IptRule& from) {
  if (from.other || from.input || from.output || from.protocol != 0 || from.go_to || from.module) return std::nullopt;
  Rule rule{.comment = from.comment()};
  if (from.source)
    rule.matches.push_back({.field = Field::kSource, .negate = from.source->negate, .prefix = from.source->cidr});
  if (from.destination)
    rule.matches.push_back(
        {.field = Field::kDestination, .negate = from.destination->negate, .prefix = from.destination->cidr});
  for (const IptModule& match : from.matches) {
    if (match.name == "comment") continue;
    if (match.name != "conntrack" || !is_match_of_replies(match.revision, match.data)) return std::nullopt;
    rule.matches.push_back({.field = Field::kReplies});
  }
  if (from.target == "ACCEPT") return rule;
  rule.verdict = Verdict::kJump;
  rule.target = from.target;
  return rule;
}

/// What goes of one table.
struct Parts {
  std::string chain = {};              ///< in which the rules are
  std::vector<size_t> positions = {};  ///< ascending
  std::set<std::string> chains = {};   ///< that go as a whole
  [[nodiscard]] bool empty() const { return positions.empty() && chains.empty(); }
};

Parts find_openings(const IptSession& session, const UpstreamJudge& judge) {
  Parts parts{.chain = kUpstreamForward};
  const std::vector<StandingIptRule> rules = session.rules(kUpstreamForward);
  for (size_t i = 0; i < rules.size(); ++i)
    if (const auto rule = as_plain(rules[i].rule); rule && judge.opens(*rule)) parts.positions.push_back(i);
  return parts;
}

Parts find_masquerade(const IptSession& session, const UpstreamJudge& judge) {
  Parts parts{.chain = kPostrouting};
  if (judge.owners.only) {
    const std::string chain = upstream_chain(judge.owners.network, judge.owners.only->container_id);
    if (!session.has_chain(chain)) return parts;
    parts.chains.insert(chain);
  }
  std::set<std::string> needed;
  const std::vector<StandingIptRule> rules = session.rules(kPostrouting);
  for (size_t i = 0; i < rules.size(); ++i) {
    const auto rule = as_plain(rules[i].rule);
    if (rule && judge.leads_to_masquerade(*rule)) {
      parts.positions.push_back(i);
      parts.chains.insert(rule->target);
    } else {
      needed.insert(rules[i].rule.target);
    }
  }
  std::erase_if(parts.chains, [&](const std::string& chain) { return needed.contains(chain); });
  return parts;
}

using Find = Parts (*)(const IptSession&, const UpstreamJudge&);

Result<void> remove_parts(IptSession& session, const Parts& parts) {
  for (auto position = parts.positions.rbegin(); position != parts.positions.rend(); ++position)
    TRY(session.delete_rule(parts.chain, *position));
  for (const std::string& chain : parts.chains) {
    TRY(session.flush_chain(chain));
    TRY(session.delete_chain(chain));
  }
  return session.commit();
}

/// Under the lock: read again, for it may have changed.
Result<void> remove_from(addr::Family family, IptTable table, const UpstreamJudge& judge, Find find) {
  const FileLock lock = TRY(take_xtables_lock());
  for (int round = 0;; ++round) {
    const std::unique_ptr<IptSession> session = TRY(IptSession::open(family, table));
    const Parts parts = find(*session, judge);
    if (parts.empty()) return {};
    Result<void> done = remove_parts(*session, parts);
    if (done || done.error().sys_errno != EAGAIN || round == kMaxRounds) return done;
  }
}

/// Is there anything that the addresses decide about?
bool concerns(const IptSession& session, IptTable table, const UpstreamOwners& owners) {
  if (table == IptTable::kFilter) return session.has_chain(kUpstreamForward);
  return !owners.only || session.has_chain(upstream_chain(owners.network, owners.only->container_id));
}

Result<void> look_through(const UpstreamOwners& owners, const std::vector<std::pair<IptTable, Find>>& tables) {
  std::optional<UpstreamJudge> judge;
  for (const addr::Family family : kFamilies) {
    const std::vector<std::string> there = tables_in_use(family);
    for (const auto& [table, find] : tables) {
      if (std::ranges::find(there, table_name(table)) == there.end()) continue;
      const std::unique_ptr<IptSession> session = TRY(IptSession::open(family, table));
      if (!concerns(*session, table, owners)) continue;
      if (!judge) {
        auto addresses = TRY(owners.addresses());
        judge.emplace(UpstreamJudge{.owners = owners, .addresses = std::move(addresses)});
      }
      if (!find(*session, *judge).empty()) TRY(remove_from(family, table, *judge, find));
    }
  }
  return {};
}

}  // namespace

Result<void> remove_upstream_from_legacy(const UpstreamOwners& owners) {
  return look_through(owners, {{IptTable::kNat, find_masquerade}, {IptTable::kFilter, find_openings}});
}

Result<void> remove_upstream_openings_from_legacy(const std::vector<addr::Ip>& addresses) {
  const UpstreamOwners nobody{.addresses = [&]() -> Result<std::vector<addr::Ip>> { return addresses; }};
  return look_through(nobody, {{IptTable::kFilter, find_openings}});
}

}  // namespace slicer::netfilter
