// The host's side of isolated networks in nftables: constants, and the openings that allow lists ask for.
#include "lib/netfilter/nftables/isolation.h"

#include <fmt/format.h>
#include <linux/netfilter.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "lib/netfilter/nftables/codec.h"
#include "lib/netfilter/nftables/named_table.h"
#include "lib/netfilter/nftables/rule_builder.h"

namespace slicer::netfilter {
namespace {

// As in backend.cc: the limit is for programs that rewrite their own tables all the time.
constexpr int kMaxRounds = 200;

constexpr const char* kOpenSet = "isolation-open";
constexpr const char* kPrerouting = "isolation-prerouting";
constexpr const char* kInput = "isolation-input";
constexpr const char* kForward = "isolation-forward";
constexpr const char* kOutput = "isolation-output";
constexpr const char* kComment = "slicer: isolated networks";
// Before every DNAT (NF_IP_PRI_NAT_DST, -100) and other programs' mangling (-150): what counts is where the VM wanted
// to go.
constexpr int32_t kBeforeDnat = -190;
constexpr int32_t kFilterPriority = 0;  // NF_IP_PRI_FILTER

const std::vector<IsolationChain>& chains() {
  static const std::vector<IsolationChain> kChains{
      {.name = kPrerouting, .hook = NF_INET_PRE_ROUTING, .priority = kBeforeDnat, .comment = kComment},
      {.name = kInput, .hook = NF_INET_LOCAL_IN, .priority = kFilterPriority, .comment = kComment},
      {.name = kForward, .hook = NF_INET_FORWARD, .priority = kFilterPriority, .comment = kComment},
      {.name = kOutput, .hook = NF_INET_LOCAL_OUT, .priority = kFilterPriority, .comment = kComment}};
  return kChains;
}

addr::Cidr link_local() { return {.ip = addr::Ip(addr::Family::kIpv4, 0xa9fe0000U), .prefix = 16}; }

RuleBuilder& own_rule(std::vector<RuleBuilder>& rules, const char* chain, const char* comment) {
  return rules.emplace_back(ChainPlace{.family = kInet, .table = kTable, .chain = chain}).comment(comment);
}

std::vector<RuleBuilder> constant_rules() {
  std::vector<RuleBuilder> rules;
  const auto from = [&](const char* chain, const char* comment) -> RuleBuilder& {
    return own_rule(rules, chain, comment).input_prefix(kIsolatedLinks);
  };
  const auto to = [&](const char* chain, const char* comment) -> RuleBuilder& {
    return own_rule(rules, chain, comment).output_prefix(kIsolatedLinks);
  };
  from(kPrerouting, "IPv6 is closed").not_family(addr::Family::kIpv4).drop();
  from(kPrerouting, "opened by an allow list").source_and_destination_in(addr::Family::kIpv4, kOpenSet).accept();
  for (const AddressType type : {AddressType::kLocal, AddressType::kBroadcast, AddressType::kMulticast})
    from(kPrerouting, "the host's addresses").destination_type(type).drop();
  from(kPrerouting, "metadata, other VMs").destination(link_local()).drop();
  from(kInput, "opened by an allow list").source_and_destination_in(addr::Family::kIpv4, kOpenSet).accept();
  from(kInput, "the host").drop();
  from(kForward, "links of ours").output_prefix(kOwnLinks).drop();
  from(kForward, "VMs of other networks").output_in(kBridgesSet).drop();
  from(kForward, "opened by an allow list").source_and_destination_in(addr::Family::kIpv4, kOpenSet).accept();
  from(kForward, "metadata, other VMs").destination(link_local()).drop();
  for (const char* chain : {kForward, kOutput}) {
    to(chain, "replies").established_reply().accept();
    to(chain, "nobody reaches an isolated VM").drop();
  }
  return rules;
}

/// What stands of the constants, as of one generation of the ruleset.
struct Standing {
  uint32_t generation = 0;
  bool interrupted = false;
  bool bridges_set = false;
  bool open_set = false;
  std::vector<StandingChain> chains = {};
  std::vector<StandingRuleText> rules = {};

  [[nodiscard]] const StandingChain* find(const std::string& name) const {
    const auto found =
        std::ranges::find_if(chains, [&](const StandingChain& each) { return each.place.chain == name; });
    return found == chains.end() ? nullptr : &*found;
  }
  /// Are these, in this order, all the rules of the chain?
  [[nodiscard]] bool has_rules(const std::string& chain, const std::vector<RuleBuilder>& wanted) const {
    std::vector<std::string> texts;
    for (const RuleBuilder& rule : wanted)
      if (rule.chain() == chain) texts.push_back(rule.text());
    auto next = texts.begin();
    for (const StandingRuleText& rule : rules) {
      if (rule.table != kTable || rule.chain != chain) continue;
      if (next == texts.end() || *next != rule.text) return false;
      ++next;
    }
    return next == texts.end();
  }
};

Result<Standing> survey(NftSession& session) {
  Standing standing;
  MessageBuffer question;
  (void)ask_generation(question);
  for (const IsolationChain& chain : chains())
    (void)ask_chain(question, {.family = kInet, .table = kTable, .chain = chain.name});
  const uint32_t bridges = ask_set(question, kTable, kBridgesSet);
  const uint32_t open = ask_set(question, kTable, kOpenSet);
  const auto take_set = [&](uint32_t number, const nlmsghdr* message) {
    if (number == bridges && is_set_answer(message)) standing.bridges_set = true;
    if (number == open && is_set_answer(message)) standing.open_set = true;
  };
  const auto take = [&](const nlmsghdr* message) {
    switch (kind_of(message)) {
      case AnswerKind::kGeneration:
        standing.generation = read_generation(message);
        break;
      case AnswerKind::kChain:
        if (std::optional<StandingChain> chain = read_chain(message)) standing.chains.push_back(std::move(*chain));
        break;
      case AnswerKind::kRule:
        standing.rules.push_back(read_rule_text(message));
        break;
      default:
        break;
    }
  };
  // Chain by chain: networks with lists may have hundreds of rules in this table. A dump ends a question.
  bool first = true;
  for (const IsolationChain& chain : chains()) {
    MessageBuffer rules;
    MessageBuffer& now = first ? question : rules;
    (void)ask_rules(now, {.family = kInet, .table = kTable, .chain = chain.name});
    const Answers answers = TRY(session.ask(now, [&](uint32_t number, const nlmsghdr* message) {
      if (first) take_set(number, message);
      take(message);
    }));
    standing.interrupted = standing.interrupted || answers.interrupted;
    first = false;
  }
  return standing;
}

/// Where a chain is not as it should be.
struct Fault {
  const IsolationChain* chain = nullptr;
  bool absent = false;
};

Result<std::vector<Fault>> find_faults(const Standing& standing, const std::vector<RuleBuilder>& rules) {
  std::vector<Fault> faults;
  for (const IsolationChain& chain : chains()) {
    const StandingChain* there = standing.find(chain.name);
    if (there != nullptr && (there->type != "filter" || there->hook != chain.hook || there->priority != chain.priority))
      return fail(Kind::kExists,
                  fmt::format("use chain '{}' in table 'inet {}': it is on another hook", chain.name, kTable),
                  fmt::format("nobody else should write there: nft delete chain inet {} {}", kTable, chain.name));
    if (there == nullptr || there->policy_drop || !standing.has_rules(chain.name, rules))
      faults.push_back({.chain = &chain, .absent = there == nullptr});
  }
  return faults;
}

void put_repairs(MessageBuffer& batch, const Standing& standing, const std::vector<Fault>& faults,
                 const std::vector<RuleBuilder>& rules, const std::vector<MarkedBridge>& bridges) {
  put_table(batch);
  if (!standing.bridges_set) put_bridges_set(batch);
  for (const MarkedBridge& bridge : bridges) put_bridge(batch, bridge.name, bridge.mark);
  constexpr uint32_t kOpenSetId = 2;  // put_bridges_set() has 1
  if (!standing.open_set) put_set(batch, kTable, kOpenSet, Keys::kPairs, kOpenSetId);
  for (const Fault& fault : faults) {
    put_isolation_chain(batch, kTable, *fault.chain);
    if (!fault.absent) flush_chain(batch, kTable, fault.chain->name);
    for (const RuleBuilder& rule : rules)
      if (rule.chain() == fault.chain->name) rule.put(batch);
  }
}

std::unexpected<Error> restless(std::string_view action) {
  return fail(Kind::kBusy, fmt::format("{}: another program changed the ruleset {} times in a row", action, kMaxRounds),
              "try again; `nft monitor` shows who it is");
}

/// The openings of the host.
struct Openings {
  uint32_t generation = 0;
  bool interrupted = false;
  std::vector<Opening> pairs = {};
};

Result<Openings> read_openings(NftSession& session) {
  Openings openings;
  MessageBuffer question;
  (void)ask_generation(question);
  (void)ask_pairs(question, kTable, kOpenSet);
  const Answers answers = TRY(session.ask(question, [&](uint32_t, const nlmsghdr* message) {
    if (kind_of(message) == AnswerKind::kGeneration) openings.generation = read_generation(message);
    if (kind_of(message) == AnswerKind::kElements)
      std::ranges::move(read_pairs(message), std::back_inserter(openings.pairs));
  }));
  openings.interrupted = answers.interrupted;
  return openings;  // no table or set (ENOENT): nothing is open
}

}  // namespace

Result<bool> stands_in_nftables() {
  Result<NftSession> session = NftSession::open();
  if (!session && session.error().kind == Kind::kUnsupportedKernel) return false;
  if (!session) return std::unexpected(std::move(session).error());
  MessageBuffer question;
  for (const IsolationChain& chain : chains())
    (void)ask_chain(question, {.family = kInet, .table = kTable, .chain = chain.name});
  bool found = false;
  (void)TRY(session->ask(question,
                         [&](uint32_t, const nlmsghdr* message) { found = found || read_chain(message).has_value(); }));
  return found;
}

Result<void> ensure_nft_isolation(const std::function<Result<std::vector<MarkedBridge>>()>& bridges, LossWatch* watch) {
  constexpr std::string_view kAction = "write the rules of isolated networks";
  const std::vector<RuleBuilder> rules = constant_rules();
  NftSession session = TRY(NftSession::open());
  for (int round = 0; round < kMaxRounds; ++round) {
    const Standing standing = TRY(survey(session));
    if (standing.interrupted) continue;
    const std::vector<Fault> faults = TRY(find_faults(standing, rules));
    if (faults.empty() && standing.bridges_set && standing.open_set) return {};
    const std::vector<MarkedBridge> listed = TRY(bridges());
    const bool lost = watch != nullptr && watch->evidence && TRY(watch->evidence(!standing.bridges_set));
    MessageBuffer batch;
    batch.begin_batch(standing.generation);
    put_repairs(batch, standing, faults, rules, listed);
    batch.end_batch();
    if (TRY(session.commit(batch).context(kAction)) != Commit::kDone) continue;
    if (watch != nullptr) watch->lost = lost;
    return {};
  }
  return restless(kAction);
}

Result<bool> remove_nft_isolation() {
  constexpr std::string_view kAction = "remove the rules of isolated networks";
  NftSession session = TRY(NftSession::open());
  for (int round = 0; round < kMaxRounds; ++round) {
    const Standing standing = TRY(survey(session));
    if (standing.interrupted) continue;
    if (standing.chains.empty() && !standing.open_set) return false;
    MessageBuffer batch;
    batch.begin_batch(standing.generation);
    for (const StandingChain& chain : standing.chains) flush_chain(batch, kTable, chain.place.chain);
    for (const StandingChain& chain : standing.chains) delete_chain(batch, chain.place);
    if (standing.open_set) delete_set(batch, kTable, kOpenSet);
    batch.end_batch();
    if (TRY(session.commit(batch).context(kAction)) != Commit::kDone) continue;
    std::move(session).close_in_child();
    return true;
  }
  return restless(kAction);
}

Result<void> check_nft_isolation() {
  const std::vector<RuleBuilder> rules = constant_rules();
  NftSession session = TRY(NftSession::open());
  for (int round = 0; round < kMaxRounds; ++round) {
    const Standing standing = TRY(survey(session));
    if (standing.interrupted) continue;
    const std::vector<Fault> faults = TRY(find_faults(standing, rules));
    std::string what;
    if (!faults.empty())
      what = fmt::format("chain '{}' is {}", faults.front().chain->name, faults.front().absent ? "gone" : "changed");
    if (what.empty() && !standing.bridges_set) what = fmt::format("set '{}' is gone", kBridgesSet);
    if (what.empty() && !standing.open_set) what = fmt::format("set '{}' is gone", kOpenSet);
    if (what.empty()) return {};
    return fail(
        Kind::kMismatch, fmt::format("check the rules of isolated networks in table 'inet {}': {}", kTable, what),
        "slicer-run network reload puts it back, as does the next ADD on an isolated network; find out who changed it");
  }
  return restless("check the rules of isolated networks");
}

Result<void> change_nft_openings(const std::string& action, const OpeningPlan& plan) {
  Result<NftSession> opened = NftSession::open();
  // Nothing is open in a kernel without nf_tables, so nothing can be closed.
  if (!opened && opened.error().kind == Kind::kUnsupportedKernel && plan({}).empty()) return {};
  NftSession session = TRY(std::move(opened));
  for (int round = 0; round < kMaxRounds; ++round) {
    const Openings openings = TRY(read_openings(session));
    if (openings.interrupted) continue;
    const std::vector<Opening> wanted = plan(openings.pairs);
    const auto lacking = [](const std::vector<Opening>& from, const std::vector<Opening>& in) {
      std::vector<Opening> left;
      std::ranges::copy_if(from, std::back_inserter(left),
                           [&](const Opening& opening) { return std::ranges::find(in, opening) == in.end(); });
      return left;
    };
    const std::vector<Opening> removed = lacking(openings.pairs, wanted);
    const std::vector<Opening> added = lacking(wanted, openings.pairs);
    if (added.empty() && removed.empty()) return {};
    MessageBuffer batch;
    batch.begin_batch(openings.generation);
    delete_pairs(batch, kTable, kOpenSet, removed);
    put_pairs(batch, kTable, kOpenSet, added);
    batch.end_batch();
    if (TRY(session.commit(batch).context(action)) != Commit::kDone) continue;
    if (!removed.empty()) std::move(session).close_in_child();
    return {};
  }
  return restless(action);
}

Result<std::vector<Opening>> nft_openings() {
  Result<NftSession> session = NftSession::open();
  if (!session && session.error().kind == Kind::kUnsupportedKernel) return std::vector<Opening>{};
  if (!session) return std::unexpected(std::move(session).error());
  return TRY(read_openings(*session)).pairs;
}

Result<std::vector<MarkedBridge>> nft_listed_bridges() {
  std::vector<MarkedBridge> bridges;
  Result<NftSession> session = NftSession::open();
  if (!session && session.error().kind == Kind::kUnsupportedKernel) return bridges;
  if (!session) return std::unexpected(std::move(session).error());
  for (int round = 0; round < kMaxRounds; ++round) {
    MessageBuffer question;
    ask_bridges(question);
    bridges.clear();
    const Answers answers = TRY(session->ask(question, [&](uint32_t, const nlmsghdr* message) {
      if (kind_of(message) != AnswerKind::kElements) return;
      for (StandingElement& element : read_elements(message))
        bridges.push_back({.name = std::move(element.key), .mark = std::move(element.comment)});
    }));
    if (!answers.interrupted) return bridges;
  }
  return restless("read the set of bridges");
}

}  // namespace slicer::netfilter
