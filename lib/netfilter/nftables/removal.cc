#include "lib/netfilter/nftables/removal.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "lib/netfilter/nftables/foreign.h"
#include "lib/netfilter/nftables/policy_plan.h"
#include "lib/netfilter/nftables/traces.h"

namespace slicer::netfilter {
namespace {

/// Beside the policies: what bears a network's mark, and whether the set of bridges has others.
struct Remains {
  bool interrupted = false;
  bool other_bridges = false;
  std::vector<std::string> bridges = {};
  std::vector<StandingRule> foreign = {};
};

class Collector {
 public:
  Collector(NftSession& session, const std::string& network) : session_(session), mark_(network_mark(network)) {}

  Result<Remains> run() {
    MessageBuffer bridges;
    ask_bridges(bridges);
    TRY(ask(bridges));
    for (const ChainPlace& place : foreign_places()) {
      MessageBuffer rules;
      ask_rules(rules, place);
      TRY(ask(rules));
    }
    return std::move(remains_);
  }

 private:
  Result<void> ask(const MessageBuffer& question) {
    const Answers answers = TRY(session_.ask(question, [&](uint32_t, const nlmsghdr* message) { read(message); }));
    remains_.interrupted = remains_.interrupted || answers.interrupted;
    return {};
  }

  void read(const nlmsghdr* message) {
    if (kind_of(message) == AnswerKind::kRule) {
      if (std::optional<StandingRule> rule = read_rule(message); rule && rule->comment == mark_)
        remains_.foreign.push_back(std::move(*rule));
    } else if (kind_of(message) == AnswerKind::kElements) {
      for (const StandingElement& element : read_elements(message)) take_element(element);
    }
  }

  void take_element(const StandingElement& element) {
    if (element.comment == mark_)
      remains_.bridges.push_back(element.key);
    else
      remains_.other_bridges = true;
  }

  NftSession& session_;
  std::string mark_;
  Remains remains_ = {};
};

bool is_constant_chain(const StandingChain& chain, const std::string& network) {
  return chain.comment == network_mark(network) || chain.place.chain == chain_name(Hook::kForward, network) ||
         chain.place.chain == chain_name(Hook::kPostroutingNat, network);
}

bool used_by_others(const StandingPolicies& standing, const PolicyPlan& plan, const Remains& remains,
                    const std::string& network) {
  const bool other_chain = std::ranges::any_of(standing.chains, [&](const auto& entry) {
    return !is_constant_chain(entry.second, network) && !plan.removes_chain(entry.first);
  });
  const bool other_map = std::ranges::any_of(
      standing.maps, [&](const std::string& name) { return name != kBridgesSet && !plan.removes_map(name); });
  return other_chain || other_map || remains.other_bridges;
}

/// Two questions: has the network a VM with a policy of its own for which `gone` holds?
Result<bool> any_gone(NftSession& session, const std::string& network, const VmFilter& gone) {
  bool found = false;
  for (const addr::Family family : {addr::Family::kIpv4, addr::Family::kIpv6}) {
    MapReader reader(own_map(network, family));
    MessageBuffer question;
    (void)ask_map_elements(question, own_map(network, family));
    (void)TRY(session.ask(question, [&](uint32_t, const nlmsghdr* message) {
      if (kind_of(message) == AnswerKind::kElements) reader.read(message);
    }));
    found = found || std::ranges::any_of(reader.take(), [&](const MapElement& one) { return gone(one.comment); });
  }
  return found;
}

}  // namespace

Result<Change> put_network_removal(NftSession& session, const std::string& network, MessageBuffer& batch) {
  const PolicyReading reading = TRY(read_policies(session, network));
  const Remains remains = TRY(Collector(session, network).run());
  if (reading.interrupted || remains.interrupted) return Change::kReadAgain;
  const StandingPolicies& standing = reading.standing;
  const PolicyWish wish{.network = network, .remove_all = true};
  const PolicyPlan plan(standing, wish);
  for (const StandingRule& rule : remains.foreign) delete_rule(batch, rule.place, rule.handle);
  const bool anything_in_table = !standing.chains.empty() || !standing.maps.empty();
  if (anything_in_table && !used_by_others(standing, plan, remains, network)) {
    delete_table(batch);
    return Change::kWrite;
  }
  bool any = !remains.foreign.empty() || !remains.bridges.empty() || !plan.empty();
  plan.put(batch);
  for (const auto& [name, chain] : standing.chains) {
    if (!is_constant_chain(chain, network) || plan.removes_chain(name)) continue;
    delete_chain(batch, chain.place);
    any = true;
  }
  for (const std::string& bridge : remains.bridges) delete_bridge(batch, bridge);
  return any ? Change::kWrite : Change::kNone;
}

Result<bool> has_nftables_rules(const std::string& network) {
  constexpr int kMaxRounds = 200;
  NftSession session = TRY(NftSession::open());
  for (int round = 0; round < kMaxRounds; ++round) {
    const PolicyReading reading = TRY(read_policies(session, network));
    const Remains remains = TRY(Collector(session, network).run());
    if (reading.interrupted || remains.interrupted) continue;
    if (!remains.bridges.empty() || !remains.foreign.empty()) return true;
    const PolicyWish wish{.network = network, .remove_all = true};
    if (!PolicyPlan(reading.standing, wish).empty()) return true;
    return std::ranges::any_of(reading.standing.chains,
                               [&](const auto& entry) { return is_constant_chain(entry.second, network); });
  }
  return fail(Kind::kBusy, "look for the rules of network '" + network + "': the ruleset changes all the time",
              "try again; `nft monitor` shows who it is");
}

Result<Change> put_vm_removal(NftSession& session, const std::string& network, const VmFilter& gone,
                              MessageBuffer& batch) {
  if (!TRY(any_gone(session, network, gone))) return Change::kNone;
  const PolicyReading reading = TRY(read_policies(session, network));
  if (reading.interrupted) return Change::kReadAgain;
  const PolicyWish wish{.network = network, .gone = gone};
  const PolicyPlan plan(reading.standing, wish);
  if (plan.empty()) return Change::kNone;
  plan.put(batch);
  return Change::kWrite;
}

}  // namespace slicer::netfilter
