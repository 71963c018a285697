#include "lib/netfilter/nftables/backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <utility>

#include "lib/netfilter/nftables/codec.h"
#include "lib/netfilter/nftables/foreign.h"
#include "lib/netfilter/nftables/named_table.h"
#include "lib/netfilter/nftables/policy_glance.h"
#include "lib/netfilter/nftables/policy_plan.h"
#include "lib/netfilter/nftables/policy_reading.h"
#include "lib/netfilter/nftables/removal.h"

namespace slicer::netfilter {
namespace {

// Each round ends with our change done or with somebody else's done, so parallel first ADDs need at most one round
// each; the rest is for programs that rewrite their own tables meanwhile.
constexpr int kMaxRounds = 200;

ChainPlace own_place(const std::string& chain) { return {.family = kInet, .table = kTable, .chain = chain}; }

/// What an own chain lacks.
struct ChainGap {
  Chain chain = {};
  bool absent = true;
  bool policy_drops = false;
  size_t standing = 0;  ///< rules in it, of whatever kind
  std::vector<Rule> missing = {};
  [[nodiscard]] bool closed() const { return !absent && !policy_drops && missing.empty(); }
  [[nodiscard]] bool emptied() const { return !absent && standing == 0; }
};

/// What a foreign chain lacks.
struct ForeignGap {
  ChainPlace place = {};
  std::vector<Rule> missing = {};
};

/// What stands in the way of "all of it stands", as of one generation of the ruleset.
struct Gaps {
  uint32_t generation = 0;
  bool interrupted = false;
  bool bridge_absent = false;
  std::string policy = {};  ///< what is wrong with it; empty: nothing
  std::vector<ChainGap> chains = {};
  std::vector<ForeignGap> foreign = {};
  [[nodiscard]] bool closed() const {
    return !bridge_absent && policy.empty() && foreign.empty() && std::ranges::all_of(chains, &ChainGap::closed);
  }
};

void strike(std::vector<Rule>& missing, const Rule& standing) {
  std::erase_if(missing, [&](const Rule& rule) { return rule.same_as(standing); });
}

/// Asks the kernel what of `rules` is missing. The constants of a network that one plugin asks for take one question.
class Survey {
 public:
  Survey(NftSession& session, const NetworkRules& rules) : session_(session), rules_(rules), policy_(rules) {
    for (Chain& chain : own_chains(rules)) {
      std::vector<Rule> missing = chain.rules;
      gaps_.chains.push_back({.chain = std::move(chain), .missing = std::move(missing)});
    }
    if (rules.forward) foreign_ = foreign_targets(rules.network, *rules.forward);
    gaps_.bridge_absent = !rules.listed_bridge.empty();
  }

  Result<Gaps> run() {
    MessageBuffer first;
    ask_first(first);
    const size_t dumps = std::max<size_t>(gaps_.chains.size(), 1);
    for (size_t i = 0; i < dumps; ++i) {
      MessageBuffer later;
      MessageBuffer& question = i == 0 ? first : later;
      if (i < gaps_.chains.size()) ask_rules(question, own_place(gaps_.chains[i].chain.name));
      TRY(ask(question));
    }
    for (const ChainPlace& place : policy_.chains_to_dump()) {
      MessageBuffer question;
      ask_rules(question, place);
      TRY(ask(question));
    }
    TRY(check_chains());
    gaps_.policy = policy_.missing();
    for (const ForeignTarget& target : foreign_) TRY(survey_foreign(target));
    return std::move(gaps_);
  }

 private:
  void ask_first(MessageBuffer& question) {
    ask_generation(question);  // before all else: what is read later may be newer, and a transaction then fails
    if (gaps_.bridge_absent) ask_bridge(question, rules_.listed_bridge);
    for (const ChainGap& gap : gaps_.chains) ask_chain(question, own_place(gap.chain.name));
    policy_.ask(question);
    for (const ForeignTarget& target : foreign_) {
      ask_chain(question, target.forward);
      ask_chain(question, target.user);
    }
  }

  Result<void> ask(const MessageBuffer& question) {
    const Answers answers = TRY(session_.ask(question, [&](uint32_t, const nlmsghdr* message) { read(message); }));
    gaps_.interrupted = gaps_.interrupted || answers.interrupted;
    return {};
  }

  void read(const nlmsghdr* message) {
    switch (kind_of(message)) {
      case AnswerKind::kGeneration:
        gaps_.generation = read_generation(message);
        return;
      case AnswerKind::kChain:
        if (std::optional<StandingChain> chain = read_chain(message)) take_chain(std::move(*chain));
        return;
      case AnswerKind::kRule:
        if (const std::optional<StandingRule> rule = read_rule(message); rule && rule->rule) take_rule(*rule);
        return;
      case AnswerKind::kElements:
        if (read_map_name(message) != kBridgesSet) return policy_.take_elements(message);
        for (const StandingElement& element : read_elements(message))
          if (element.key == rules_.listed_bridge) gaps_.bridge_absent = false;
        return;
      case AnswerKind::kOther:
        return;
    }
  }

  void take_chain(StandingChain chain) {
    policy_.take_chain(chain);
    standing_.push_back(std::move(chain));
  }

  void take_rule(const StandingRule& standing) {
    policy_.take_rule(standing);
    for (ChainGap& gap : gaps_.chains) {
      if (standing.place != own_place(gap.chain.name)) continue;
      ++gap.standing;
      strike(gap.missing, *standing.rule);
    }
    for (ForeignTarget& target : foreign_)
      if (standing.place == target.forward || standing.place == target.user) strike(target.openings, *standing.rule);
  }

  const StandingChain* find_chain(const ChainPlace& place) const {
    const auto found = std::ranges::find(standing_, place, &StandingChain::place);
    return found == standing_.end() ? nullptr : &*found;
  }

  Result<void> check_chains() {
    for (ChainGap& gap : gaps_.chains) {
      const StandingChain* standing = find_chain(own_place(gap.chain.name));
      if (standing == nullptr) continue;
      if (!is_chain(*standing, gap.chain)) {
        return fail(Kind::kExists,
                    fmt::format("use chain '{}' in table 'inet {}': it is on another hook", gap.chain.name, kTable),
                    fmt::format("nobody else should write there: nft delete chain inet {} {}", kTable, gap.chain.name));
      }
      gap.absent = false;
      gap.policy_drops = standing->policy_drop;
    }
    return {};
  }

  Result<void> survey_foreign(const ForeignTarget& target) {
    const StandingChain* forward = find_chain(target.forward);
    if (forward == nullptr || !forward->policy_drop) return {};
    const ChainPlace place = find_chain(target.user) != nullptr ? target.user : target.forward;
    MessageBuffer question;
    ask_rules(question, place);
    TRY(ask(question));  // strikes what stands from the target's openings
    if (!target.openings.empty()) gaps_.foreign.push_back({.place = place, .missing = target.openings});
    return {};
  }

  NftSession& session_;
  const NetworkRules& rules_;
  PolicyGlance policy_;
  std::vector<ForeignTarget> foreign_ = {};
  std::vector<StandingChain> standing_ = {};
  Gaps gaps_ = {};
};

void put_gaps(MessageBuffer& batch, const Gaps& gaps, const NetworkRules& rules) {
  put_table(batch);
  for (const ChainGap& gap : gaps.chains) {
    if (gap.absent || gap.policy_drops) put_chain(batch, gap.chain);
    for (const Rule& rule : gap.missing) put_rule(batch, own_place(gap.chain.name), rule, Position::kEnd);
  }
  if (gaps.bridge_absent) {
    put_bridges_set(batch);
    put_bridge(batch, rules.listed_bridge, network_mark(rules.network));
  }
  for (const ForeignGap& gap : gaps.foreign) {
    for (const Rule& rule : gap.missing) put_rule(batch, gap.place, rule, Position::kHead);
  }
}

/// False: the ruleset changed while it was read.
Result<bool> put_policy_changes(NftSession& session, const NetworkRules& rules, MessageBuffer& batch) {
  const PolicyReading reading = TRY(read_policies(session, rules.network));
  if (reading.interrupted) return false;
  const PolicyWish wish{.network = rules.network, .rules = rules.policy, .selector = rules.forward};
  PolicyPlan(reading.standing, wish).put(batch);
  return true;
}

std::string describe(const Gaps& gaps, const NetworkRules& rules) {
  for (const ChainGap& gap : gaps.chains) {
    if (gap.absent) return fmt::format("chain '{}' in table 'inet {}' is gone", gap.chain.name, kTable);
    if (gap.policy_drops) return fmt::format("chain '{}' in table 'inet {}' drops by default", gap.chain.name, kTable);
    if (!gap.missing.empty())
      return fmt::format("rule '{}' is gone from chain '{}' in table 'inet {}'", rule_text(gap.missing.front()),
                         gap.chain.name, kTable);
  }
  if (!gaps.policy.empty()) return gaps.policy;
  if (gaps.bridge_absent)
    return fmt::format("'{}' is gone from set '{}' in table 'inet {}'", rules.listed_bridge, kBridgesSet, kTable);
  const ForeignGap& gap = gaps.foreign.front();
  return fmt::format("rule '{}' is gone from chain '{}' in table '{} {}', whose FORWARD drops by default",
                     rule_text(gap.missing.front()), gap.place.chain, family_name(gap.place.family), gap.place.table);
}

/// Compares every entry of the policies in force; empty when all are as they should be.
Result<std::string> differing_policy(NftSession& session, const NetworkRules& rules) {
  for (const auto& [id, policy] : judging_lists(rules)) {
    const std::optional<PolicyInForce> standing = TRY(read_policy(session, {.id = id}));
    if (standing && standing->policy != *policy)
      return fmt::format("the maps of chain '{}' hold other addresses than its lists", policy_chain(id));
  }
  return std::string();
}

Result<bool> has_own_table(NftSession& session) {
  MessageBuffer question;
  (void)ask_table(question, kTable);
  bool found = false;
  (void)TRY(
      session.ask(question, [&](uint32_t, const nlmsghdr* message) { found = found || is_table_answer(message); }));
  return found;
}

/// Constant rules are missing: did they stand before? Nobody leaves a chain without any rule.
Result<bool> were_taken(NftSession& session, const Gaps& gaps, const LossWatch& watch) {
  if (std::ranges::any_of(gaps.chains, &ChainGap::emptied)) return true;
  const bool missing = gaps.bridge_absent || !std::ranges::all_of(gaps.chains, &ChainGap::closed);
  if (!missing || !watch.evidence) return false;
  return watch.evidence(!TRY(has_own_table(session)));
}

std::unexpected<Error> ruleset_restless(const std::string& network) {
  return fail(Kind::kBusy,
              fmt::format("write the rules of network '{}': another program changed the ruleset {} times in a row",
                          network, kMaxRounds),
              "try again; `nft monitor` shows who it is");
}

/// Repeats reading and writing until nobody else wrote in between. `put` says whether there is anything to write.
template <class Put>
Result<void> change(const std::string& network, const char* action, const Put& put) {
  NftSession session = TRY(NftSession::open());
  for (int round = 0; round < kMaxRounds; ++round) {
    MessageBuffer batch;
    batch.begin_batch(TRY(read_current_generation(session)));
    const Change wanted = TRY(put(session, batch));
    if (wanted == Change::kNone) return {};
    if (wanted == Change::kReadAgain) continue;
    batch.end_batch();
    if (TRY(session.commit(batch).context(fmt::format("{} '{}'", action, network))) == Commit::kDone) return {};
  }
  return ruleset_restless(network);
}

class Nftables final : public Backend {
 public:
  Result<void> ensure_watched(const NetworkRules& rules, LossWatch* watch) override {
    NftSession session = TRY(NftSession::open());
    for (int round = 0; round < kMaxRounds; ++round) {
      const Gaps gaps = TRY(Survey(session, rules).run());
      if (gaps.interrupted) continue;
      if (gaps.closed()) return {};
      // Asked between reading and writing: whose rules came meanwhile, and his attachment after them, fails the commit.
      const bool lost = watch != nullptr && TRY(were_taken(session, gaps, *watch));
      if (watch != nullptr && watch->before_write) TRY(watch->before_write());
      MessageBuffer batch;
      batch.begin_batch(gaps.generation);
      put_gaps(batch, gaps, rules);
      if (!gaps.policy.empty() && !TRY(put_policy_changes(session, rules, batch))) continue;
      batch.end_batch();
      const Commit outcome =
          TRY(session.commit(batch).context(fmt::format("write the rules of network '{}'", rules.network)));
      if (outcome != Commit::kDone) continue;
      if (watch != nullptr) watch->lost = lost;
      return {};
    }
    return ruleset_restless(rules.network);
  }

  Result<void> check(const NetworkRules& rules) override {
    NftSession session = TRY(NftSession::open());
    for (int round = 0; round < kMaxRounds; ++round) {
      const Gaps gaps = TRY(Survey(session, rules).run());
      if (gaps.interrupted) continue;
      std::string wrong = gaps.closed() ? "" : describe(gaps, rules);
      const char* hint =
          "slicer-run network reload puts it back, as does the next ADD on this network; find out who removed it";
      if (wrong.empty()) {
        wrong = TRY(differing_policy(session, rules));
        // An ADD does not read the maps, which may hold thousands of entries: their name says what is in them.
        hint = "somebody edited them; they are written anew when the lists change (then slicer-run network reload)";
      }
      if (wrong.empty()) return {};
      return fail(Kind::kMismatch, fmt::format("check the rules of network '{}': {}", rules.network, wrong), hint);
    }
    return ruleset_restless(rules.network);
  }

  Result<void> remove(const std::string& network) override {
    return change(network, "remove the rules of network", [&](NftSession& session, MessageBuffer& batch) {
      return put_network_removal(session, network, batch);
    });
  }

  Result<void> remove_vms(const std::string& network, const VmFilter& gone) override {
    return change(network, "remove the policies of VMs of network", [&](NftSession& session, MessageBuffer& batch) {
      return put_vm_removal(session, network, gone, batch);
    });
  }

  Result<PoliciesInForce> list_policies(const std::string& network) override {
    NftSession session = TRY(NftSession::open());
    for (int round = 0; round < kMaxRounds; ++round)
      if (std::optional<PoliciesInForce> found = TRY(read_policies_in_force(session, network)))
        return std::move(*found);
    return ruleset_restless(network);
  }

  Result<void> probe() override {
    const auto unavailable = [](Error error) {
      error.kind = Kind::kUnavailable;
      return std::unexpected(std::move(error));
    };
    Result<NftSession> session = NftSession::open();
    if (!session) return unavailable(std::move(session).error());
    MessageBuffer question;
    ask_generation(question);
    Result<Answers> answers = session->ask(question, [](uint32_t, const nlmsghdr*) {});
    if (!answers) return unavailable(std::move(answers).error());
    if (answers->errors.front() != 0)
      return unavailable(errno_error(answers->errors.front(), "ask for the ruleset of nf_tables"));
    return {};
  }
};

}  // namespace

Result<bool> is_network_in_nftables(const std::string& network) {
  NftSession session = TRY(NftSession::open());
  MessageBuffer question;
  for (const std::string& chain :
       {chain_name(Hook::kForward, network), chain_name(Hook::kPostroutingNat, network), egress_chain(network)})
    ask_chain(question, own_place(chain));
  bool found = false;
  (void)TRY(session.ask(question,
                        [&](uint32_t, const nlmsghdr* message) { found = found || read_chain(message).has_value(); }));
  return found;
}

Result<NetworkParts> parts_in_nftables(const std::string& network) {
  NftSession session = TRY(NftSession::open());
  NetworkParts parts;
  const std::map<std::string, bool*> chains{{chain_name(Hook::kPostroutingNat, network), &parts.masquerade},
                                            {egress_chain(network), &parts.policy},
                                            {same_bridge_chain(network), &parts.policy},
                                            {isolated_chain(network), &parts.policy},
                                            {within_chain_name(network), &parts.within},
                                            {detection_chain(network), &parts.segregation},
                                            {redirects_chain(network), &parts.segregation}};
  MessageBuffer question;
  for (const auto& [chain, part] : chains) ask_chain(question, own_place(chain));
  (void)TRY(session.ask(question, [&](uint32_t, const nlmsghdr* message) {
    if (const std::optional<StandingChain> chain = read_chain(message)) *chains.at(chain->place.chain) = true;
  }));
  return parts;
}

Result<void> remove_nft_parts(const std::string& network, const NetworkParts& parts) {
  std::vector<std::string> wanted;
  if (parts.masquerade) wanted.push_back(chain_name(Hook::kPostroutingNat, network));
  // routed-NETWORK stays, as forward-NETWORK does: isolated networks may live here.
  if (parts.within) wanted.push_back(within_chain_name(network));
  if (parts.segregation) wanted.insert(wanted.end(), {detection_chain(network), redirects_chain(network)});
  return change(network, "remove rules of the earlier backend of network",
                [&](NftSession& session, MessageBuffer& batch) -> Result<Change> {
                  MessageBuffer question;
                  for (const std::string& chain : wanted) ask_chain(question, own_place(chain));
                  bool any = false;
                  (void)TRY(session.ask(question, [&](uint32_t, const nlmsghdr* message) {
                    const std::optional<StandingChain> chain = read_chain(message);
                    if (!chain) return;
                    delete_chain(batch, chain->place);
                    any = true;
                  }));
                  return any ? Change::kWrite : Change::kNone;
                });
}

std::unique_ptr<Backend> make_nftables_backend() { return std::make_unique<Nftables>(); }

}  // namespace slicer::netfilter
