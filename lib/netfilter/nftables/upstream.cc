#include "lib/netfilter/nftables/upstream.h"

#include <algorithm>
#include <map>
#include <utility>

#include "lib/netfilter/nftables/codec.h"
#include "lib/netfilter/upstream_rules.h"

namespace slicer::netfilter {
namespace {

constexpr int kMaxRounds = 200;

ChainPlace nat(uint16_t family, const std::string& chain) { return {.family = family, .table = "nat", .chain = chain}; }
ChainPlace forward(uint16_t family) { return {.family = family, .table = "filter", .chain = kUpstreamForward}; }
ChainPlace masquerade_checks() {
  return {.family = kInet, .table = kUpstreamMasqueradeTable, .chain = kUpstreamMasqueradeChain};
}

/// Where something of the owners' may stand.
std::vector<ChainPlace> places_of(const UpstreamOwners& owners) {
  std::vector<ChainPlace> places{masquerade_checks()};
  if (owners.only) places.push_back(nat(kBridge, upstream_spoof_chain(*owners.only)));
  for (const uint16_t family : {kIpv4, kIpv6}) {
    places.push_back(forward(family));
    places.push_back(nat(
        family, owners.only ? upstream_chain(owners.network, owners.only->container_id) : std::string("POSTROUTING")));
  }
  return places;
}

Result<std::vector<StandingChain>> find_chains(NftSession& session, const std::vector<ChainPlace>& places) {
  MessageBuffer question;
  for (const ChainPlace& place : places) ask_chain(question, place);
  std::vector<StandingChain> found;
  (void)TRY(session.ask(question, [&](uint32_t, const nlmsghdr* message) {
    if (std::optional<StandingChain> chain = read_chain(message)) found.push_back(std::move(*chain));
  }));
  return found;
}

/// One reading of the ruleset, and the transaction that takes the owners' part out of it.
class Removal {
 public:
  Removal(NftSession& session, MessageBuffer& batch, const UpstreamJudge& judge)
      : session_(session), batch_(batch), judge_(judge) {}

  Result<void> take(const ChainPlace& place) {
    if (place == masquerade_checks()) return take_checks(place);
    if (place.family == kBridge) return take_spoof_check(place);
    if (place.chain == kUpstreamForward) return take_openings(place);
    return take_masquerade(place);
  }

  [[nodiscard]] bool interrupted() const { return interrupted_; }
  [[nodiscard]] bool any() const { return any_; }

 private:
  Result<std::vector<StandingRule>> rules_of(const ChainPlace& place) {
    MessageBuffer question;
    ask_rules(question, place);
    std::vector<StandingRule> rules;
    const Answers answers = TRY(session_.ask(question, [&](uint32_t, const nlmsghdr* message) {
      if (kind_of(message) != AnswerKind::kRule) return;
      if (std::optional<StandingRule> rule = read_rule(message)) rules.push_back(std::move(*rule));
    }));
    interrupted_ = interrupted_ || answers.interrupted;
    return rules;
  }

  void remove(const StandingRule& rule) {
    delete_rule(batch_, rule.place, rule.handle);
    any_ = true;
  }

  /// Unless something leads to it beside the `jumps` that are removed.
  Result<void> remove_chain(const ChainPlace& place, size_t jumps) {
    const std::vector<StandingChain> found = TRY(find_chains(session_, {place}));
    if (found.empty() || found.front().uses != TRY(rules_of(place)).size() + jumps) return {};
    delete_chain(batch_, place);
    any_ = true;
    return {};
  }

  Result<void> take_checks(const ChainPlace& place) {
    for (const StandingRule& rule : TRY(rules_of(place)))
      if (judge_.masquerades(rule.comment)) remove(rule);
    return {};
  }

  Result<void> take_openings(const ChainPlace& place) {
    for (const StandingRule& rule : TRY(rules_of(place)))
      if (rule.rule && judge_.opens(*rule.rule)) remove(rule);
    return {};
  }

  Result<void> take_spoof_check(const ChainPlace& place) {
    const ChainPlace behind = nat(kBridge, place.chain + "-mac");
    size_t jumps = 0;
    for (const StandingRule& rule : TRY(rules_of(nat(kBridge, "PREROUTING")))) {
      if (!rule.rule || rule.rule->verdict != Verdict::kJump || rule.rule->target != place.chain) continue;
      remove(rule);
      ++jumps;
    }
    size_t inner = 0;
    for (const StandingRule& rule : TRY(rules_of(place)))
      if (rule.rule && rule.rule->verdict == Verdict::kJump && rule.rule->target == behind.chain) ++inner;
    TRY(remove_chain(place, jumps));
    return remove_chain(behind, inner);
  }

  Result<void> take_masquerade(const ChainPlace& place) {
    std::map<std::string, size_t> jumps;  // by the chain that they lead to
    if (judge_.owners.only) jumps[place.chain] = 0;
    for (const StandingRule& rule : TRY(rules_of(nat(place.family, "POSTROUTING")))) {
      if (!rule.rule || !judge_.leads_to_masquerade(*rule.rule)) continue;
      remove(rule);
      ++jumps[rule.rule->target];
    }
    for (const auto& [chain, count] : jumps) TRY(remove_chain(nat(place.family, chain), count));
    return {};
  }

  NftSession& session_;
  MessageBuffer& batch_;
  const UpstreamJudge& judge_;
  bool interrupted_ = false;
  bool any_ = false;
};

Result<void> remove(NftSession& session, const UpstreamJudge& judge, const std::vector<StandingChain>& chains) {
  for (int round = 0; round < kMaxRounds; ++round) {
    MessageBuffer batch;
    batch.begin_batch(TRY(read_current_generation(session)));
    Removal removal(session, batch, judge);
    for (const StandingChain& chain : chains) TRY(removal.take(chain.place));
    if (removal.interrupted()) continue;
    if (!removal.any()) return {};
    batch.end_batch();
    if (TRY(session.commit(batch)) == Commit::kDone) return {};
  }
  return fail(Kind::kBusy, "the ruleset changes all the time", "try again; `nft monitor` shows who it is");
}

}  // namespace

Result<void> remove_upstream_from_nftables(const UpstreamOwners& owners) {
  NftSession session = TRY(NftSession::open());
  const std::vector<StandingChain> chains = TRY(find_chains(session, places_of(owners)));
  if (chains.empty()) return {};
  auto addresses = TRY(owners.addresses());
  return remove(session, {.owners = owners, .addresses = std::move(addresses)}, chains);
}

Result<void> remove_upstream_openings_from_nftables(const std::vector<addr::Ip>& addresses) {
  NftSession session = TRY(NftSession::open());
  const std::vector<StandingChain> chains = TRY(find_chains(session, {forward(kIpv4), forward(kIpv6)}));
  if (chains.empty()) return {};
  const UpstreamOwners nobody;
  return remove(session, {.owners = nobody, .addresses = addresses}, chains);
}

}  // namespace slicer::netfilter
