// Bridges and their networks, as the rules of table `inet slicer` tell them.
#include "lib/netfilter/bridge_lists.h"

#include "lib/netfilter/nftables/policy.h"
#include "lib/netfilter/nftables/session.h"

namespace slicer::netfilter {
namespace {

constexpr int kMaxRounds = 200;

/// A rule of forward-NETWORK or egress-NETWORK that selects by a bridge.
void take(const StandingRule& standing, std::vector<BridgeLists>& found) {
  if (!standing.rule || standing.rule->matches.size() != 1) return;
  const Match& match = standing.rule->matches.front();
  const std::string mark = network_mark("");
  if (match.field != Field::kInput || match.begins || !standing.rule->comment.starts_with(mark)) return;
  BridgeLists lists{.bridge = match.interface, .network = network_of_mark(standing.rule->comment)};
  const std::string& chain = standing.place.chain;
  if (chain == egress_chain(lists.network))
    lists.policy = id_in_judge_chain(standing.rule->target, lists.network).value_or("");
  else if (chain != chain_name(Hook::kForward, lists.network))
    return;
  found.push_back(std::move(lists));
}

}  // namespace

Result<std::vector<BridgeLists>> bridge_lists_in_nftables() {
  NftSession session = TRY(NftSession::open());
  for (int round = 0; round < kMaxRounds; ++round) {
    std::vector<BridgeLists> found;
    MessageBuffer question;
    (void)ask_all_rules(question, kInet, kTable);
    const Answers answers = TRY(session.ask(question, [&](uint32_t, const nlmsghdr* message) {
      if (kind_of(message) != AnswerKind::kRule) return;
      if (const std::optional<StandingRule> rule = read_rule(message); rule && rule->place.table == kTable)
        take(*rule, found);
    }));
    if (!answers.interrupted) return found;
  }
  return fail(Kind::kBusy, "look for the networks of bridges: the ruleset changes all the time",
              "try again; `nft monitor` shows who it is");
}

}  // namespace slicer::netfilter
