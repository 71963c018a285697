// The table in a VM's namespace, in nftables.
#include "lib/netfilter/vm_table.h"

#include <fmt/format.h>
#include <linux/netfilter.h>

#include <algorithm>
#include <utility>

#include "lib/netfilter/nftables/codec.h"
#include "lib/netfilter/nftables/named_table.h"
#include "lib/netfilter/nftables/rule_builder.h"

namespace slicer::netfilter {
namespace {

constexpr int kMaxRounds = 200;

constexpr const char* kVmTable = "slicer-vm";
constexpr const char* kPrerouting = "prerouting";
constexpr const char* kInput = "input";
constexpr const char* kForward = "forward";
constexpr const char* kOutput = "output";
constexpr const char* kPolicy = "policy";
constexpr const char* kPorts = "ports";
constexpr const char* kRefused = "refused";
constexpr const char* kAddressesSet = "addresses";
constexpr const char* kDroppedPorts = "dropped-ports";
constexpr const char* kAllowedPorts = "allowed-ports";
constexpr uint8_t kEchoRequest = 8;     // RFC 792
constexpr int32_t kRawPriority = -300;  // NF_IP_PRI_RAW: before connection tracking knows the packet
constexpr int32_t kFilterPriority = 0;

constexpr addr::Family kIpv4Family = addr::Family::kIpv4;

addr::Cidr host_of(const addr::Ip& ip) { return {.ip = ip, .prefix = addr::bits_of(ip.family())}; }

/// The lists as this table has them: IPv6 is closed altogether.
struct Lists {
  std::vector<AddressVerdict> addresses = {};  ///< all of one verdict, the one that the fallback is not
  std::vector<PortVerdict> dropped = {};
  std::vector<PortVerdict> allowed = {};

  explicit Lists(const CompiledPolicy& policy) {
    for (const AddressVerdict& each : policy.addresses)
      if (each.addresses.first.is_v4() && each.verdict != policy.fallback) addresses.push_back(each);
    for (const PortVerdict& each : policy.ports)
      if (each.addresses.first.is_v4()) (each.verdict == PolicyVerdict::kDrop ? dropped : allowed).push_back(each);
  }
};

/// Which of the lists there are: the rules depend on that alone, the sets hold the rest.
struct Shape {
  bool addresses = false;
  bool dropped = false;
  bool allowed = false;

  static Shape of(const Lists& lists) {
    return {
        .addresses = !lists.addresses.empty(), .dropped = !lists.dropped.empty(), .allowed = !lists.allowed.empty()};
  }
};

std::vector<IsolationChain> chains_of(const VmTableRules& rules) {
  return {{.name = kPrerouting, .hook = NF_INET_PRE_ROUTING, .priority = kRawPriority},
          {.name = kInput, .hook = NF_INET_LOCAL_IN, .priority = kFilterPriority},
          {.name = kForward, .hook = NF_INET_FORWARD, .priority = kFilterPriority},
          {.name = kOutput, .hook = NF_INET_LOCAL_OUT, .priority = kFilterPriority},
          {.name = kPolicy, .base = false, .comment = lists_mark(rules).text()},
          {.name = kPorts, .base = false},
          {.name = kRefused, .base = false}};
}

class RuleList {
 public:
  RuleList(const VmTableRules& rules, const Shape& shape) : vm_(rules), shape_(shape) {
    add_prerouting();
    add_forward();
    add_local();
    add_policy();
  }
  std::vector<RuleBuilder> take() && { return std::move(rules_); }

 private:
  RuleBuilder& add(const char* chain, const std::string& comment = {}) {
    RuleBuilder& rule = rules_.emplace_back(ChainPlace{.family = kInet, .table = kVmTable, .chain = chain});
    return comment.empty() ? rule : rule.comment(comment);
  }

  void add_prerouting() {
    for (const std::string& link : {vm_.tap, vm_.uplink})
      add(kPrerouting, "IPv6 is closed").input(link).not_family(kIpv4Family).drop();
    add(kPrerouting, "not the guest's address").input(vm_.tap).source(host_of(vm_.guest), true).drop();
    add(kPrerouting, "IPv4 options, source routes").input(vm_.tap).long_ipv4_header().drop();
    add(kPrerouting, "not for the guest").input(vm_.uplink).destination(host_of(vm_.guest), true).drop();
  }

  void add_forward() {
    add(kForward, "replies to the guest").input(vm_.uplink).output(vm_.tap).established_reply().accept();
    add(kForward).input(vm_.tap).output(vm_.uplink).go_to(kPolicy);
    for (const std::string& link : {vm_.tap, vm_.uplink}) {
      add(kForward).input(link).drop();
      add(kForward).output(link).drop();
    }
  }

  void add_local() {
    add(kInput, "replies to a port forward").input(vm_.tap).established_reply().accept();
    add(kInput, "pings").input(vm_.tap).destination(host_of(vm_.gateway)).icmp_type(kEchoRequest).accept();
    for (const std::string& link : {vm_.tap, vm_.uplink}) add(kInput).input(link).drop();
    add(kOutput, "IPv6 is closed").output(vm_.tap).not_family(kIpv4Family).drop();
    // What the namespace itself says to the outside are errors about forwarded packets.
    add(kOutput).output(vm_.uplink).established_reply().accept();
    add(kOutput).output(vm_.uplink).drop();
  }

  void add_policy() {
    add(kPolicy, "replies").established_reply().accept();
    if (shape_.dropped || shape_.allowed) {
      for (const uint8_t protocol : {uint8_t{IPPROTO_TCP}, uint8_t{IPPROTO_UDP}})
        add(kPolicy).l4_protocol(protocol).jump(kPorts);
      if (shape_.dropped) add(kPorts).destination_port_in(kIpv4Family, kDroppedPorts).go_to(kRefused);
      if (shape_.allowed) add(kPorts).destination_port_in(kIpv4Family, kAllowedPorts).counter().accept();
    }
    const bool allows = vm_.policy.fallback == PolicyVerdict::kAllow;
    if (shape_.addresses) {
      RuleBuilder& listed = add(kPolicy).destination_in(kIpv4Family, kAddressesSet);
      allows ? listed.go_to(kRefused) : listed.counter().accept();
    }
    allows ? add(kPolicy).counter().accept() : add(kPolicy).go_to(kRefused);
    if (vm_.log) add(kRefused).limit(vm_.log->per_second, vm_.log->burst).log(vm_.log->group, vm_.log->prefix);
    add(kRefused).counter().drop();
  }

  const VmTableRules& vm_;
  Shape shape_;
  std::vector<RuleBuilder> rules_ = {};
};

/// Rules come after the sets that they name, elements last.
void put_all(MessageBuffer& batch, const VmTableRules& rules) {
  const Lists lists(rules.policy);
  put_named_table(batch, kVmTable, rules.owner.mark());
  if (!lists.addresses.empty()) put_set(batch, kVmTable, kAddressesSet, Keys::kAddresses, 1);
  if (!lists.dropped.empty()) put_set(batch, kVmTable, kDroppedPorts, Keys::kAddressPorts, 2);
  if (!lists.allowed.empty()) put_set(batch, kVmTable, kAllowedPorts, Keys::kAddressPorts, 3);
  for (const IsolationChain& chain : chains_of(rules)) put_isolation_chain(batch, kVmTable, chain);
  for (const RuleBuilder& rule : RuleList(rules, Shape::of(lists)).take()) rule.put(batch);
  put_addresses(batch, kVmTable, kAddressesSet, lists.addresses);
  put_address_ports(batch, kVmTable, kDroppedPorts, lists.dropped);
  put_address_ports(batch, kVmTable, kAllowedPorts, lists.allowed);
}

/// Is the chain about the lists, and not the same for every VM?
bool is_about_lists(const std::string& chain) { return chain == kPolicy || chain == kPorts || chain == kRefused; }

struct StandingTable {
  uint32_t generation = 0;
  bool interrupted = false;
  std::optional<std::string> mark = {};
  std::vector<StandingChain> chains = {};
  std::vector<StandingRuleText> rules = {};
};

/// How much is asked.
enum class Depth : uint8_t {
  kMark,
  kLists,  ///< and the comment that names the lists
  kAll,
};

Result<StandingTable> survey(NftSession& session, Depth depth) {
  StandingTable standing;
  MessageBuffer question;
  (void)ask_generation(question);
  (void)ask_table(question, kVmTable);
  if (depth == Depth::kLists) (void)ask_chain(question, {.family = kInet, .table = kVmTable, .chain = kPolicy});
  if (depth == Depth::kAll) {
    for (const char* chain : {kPrerouting, kInput, kForward, kOutput, kPolicy, kPorts, kRefused})
      (void)ask_chain(question, {.family = kInet, .table = kVmTable, .chain = chain});
    (void)ask_table_rules(question, kVmTable);
  }
  const Answers answers = TRY(session.ask(question, [&](uint32_t, const nlmsghdr* message) {
    if (is_table_answer(message)) standing.mark = read_table_comment(message);
    if (kind_of(message) == AnswerKind::kGeneration) standing.generation = read_generation(message);
    if (kind_of(message) == AnswerKind::kRule) standing.rules.push_back(read_rule_text(message));
    if (kind_of(message) == AnswerKind::kChain)
      if (std::optional<StandingChain> chain = read_chain(message)) standing.chains.push_back(std::move(*chain));
  }));
  standing.interrupted = answers.interrupted;
  return standing;
}

/// Rules as texts, chain by chain.
template <class Rules, class ChainOf, class TextOf>
std::vector<std::string> texts_of(const Rules& rules, bool lists, const ChainOf& chain_of, const TextOf& text_of) {
  std::vector<std::string> texts;
  for (const auto& rule : rules)
    if (lists || !is_about_lists(chain_of(rule))) texts.push_back(chain_of(rule) + text_of(rule));
  std::ranges::stable_sort(texts, {}, [](const std::string& text) { return text.substr(0, text.find('[')); });
  return texts;
}

bool has_rules(const StandingTable& standing, const VmTableRules& wanted, const Shape& shape, bool lists) {
  const auto there = texts_of(
      standing.rules, lists, [](const auto& rule) { return rule.chain; }, [](const auto& rule) { return rule.text; });
  const auto meant = texts_of(
      RuleList(wanted, shape).take(), lists, [](const auto& rule) { return rule.chain(); },
      [](const auto& rule) { return rule.text(); });
  return there == meant;
}

/// The host's addresses were others when the table was written: so may be which lists there are.
bool has_rules_of_any_shape(const StandingTable& standing, const VmTableRules& wanted) {
  for (unsigned bits = 0; bits < 8; ++bits)
    if (has_rules(standing, wanted,
                  {.addresses = (bits & 1) != 0, .dropped = (bits & 2) != 0, .allowed = (bits & 4) != 0}, true))
      return true;
  return false;
}

/// Empty: it stands.
std::string fault_of(const StandingTable& standing, const VmTableRules& wanted, VmTableCheck what) {
  if (!standing.mark) return "it is gone";
  if (*standing.mark != wanted.owner.mark()) return fmt::format("it belongs to '{}'", *standing.mark);
  bool exact = true;
  for (const IsolationChain& chain : chains_of(wanted)) {
    const auto there = std::ranges::find_if(standing.chains,
                                            [&](const StandingChain& each) { return each.place.chain == chain.name; });
    if (there == standing.chains.end()) return fmt::format("chain '{}' is gone", chain.name);
    if (chain.base && (there->hook != chain.hook || there->priority != chain.priority || there->policy_drop))
      return fmt::format("chain '{}' is on another hook, or drops by default", chain.name);
    if (chain.name != kPolicy || there->comment == chain.comment) continue;
    exact = false;
    const bool same = what == VmTableCheck::kLists && has_same_lists(there->comment, lists_mark(wanted));
    if (what != VmTableCheck::kConstants && !same) return "its lists are others";
  }
  if (what == VmTableCheck::kLists && !exact)
    return has_rules_of_any_shape(standing, wanted) ? "" : "its rules are others";
  const Shape shape = Shape::of(Lists(wanted.policy));
  return has_rules(standing, wanted, shape, what != VmTableCheck::kConstants) ? "" : "its rules are others";
}

std::unexpected<Error> restless(std::string_view action) {
  return fail(Kind::kBusy, fmt::format("{}: another program changed the ruleset {} times in a row", action, kMaxRounds),
              "try again; `nft monitor` shows who it is");
}

class NftVmTable final : public VmTableStore {
 public:
  explicit NftVmTable(NftSession session) : session_(std::move(session)) {}
  NftVmTable(const NftVmTable&) = delete;
  NftVmTable& operator=(const NftVmTable&) = delete;
  ~NftVmTable() override {
    if (deleted_) std::move(session_).close_in_child();
  }

  Result<std::optional<std::string>> mark() override { return TRY(survey(session_, Depth::kMark)).mark; }

  Result<void> put(const VmTableRules& rules, const std::function<Result<bool>()>& abandoned) override {
    const std::string action = fmt::format("write the rules of '{}'", rules.owner.alias);
    for (int round = 0; round < kMaxRounds; ++round) {
      const StandingTable standing = TRY(survey(session_, Depth::kMark));
      // Between here and the transaction nobody can have put another one: the generation would be another.
      if (standing.mark && *standing.mark != rules.owner.mark() && (!abandoned || !TRY(abandoned())))
        return foreign_vm_table(fmt::format("{}: table 'inet {}'", action, kVmTable), *standing.mark);
      MessageBuffer batch;
      batch.begin_batch(standing.generation);
      if (standing.mark) delete_named_table(batch, kVmTable);
      put_all(batch, rules);
      batch.end_batch();
      if (TRY(session_.commit(batch).context(action)) != Commit::kDone) continue;
      deleted_ = deleted_ || standing.mark.has_value();
      return {};
    }
    return restless(action);
  }

  Result<void> check(const VmTableRules& rules, VmTableCheck what) override {
    const std::string action = fmt::format("check table 'inet {}' of '{}'", kVmTable, rules.owner.alias);
    // The first ADD of slicer-firewall finds other lists: one question, and no reading of rules.
    if (what == VmTableCheck::kAll && !TRY(has_exact_lists(rules)))
      return fail(Kind::kMismatch, action + ": its lists are others", "delete the attachment and add it again");
    for (int round = 0; round < kMaxRounds; ++round) {
      const StandingTable standing = TRY(survey(session_, Depth::kAll));
      if (standing.interrupted) continue;
      const std::string fault = fault_of(standing, rules, what);
      if (fault.empty()) return {};
      return fail(Kind::kMismatch, fmt::format("{}: {}", action, fault), "delete the attachment and add it again");
    }
    return restless(action);
  }

  Result<void> remove(const std::string& mark) override {
    const std::string action = fmt::format("remove table 'inet {}'", kVmTable);
    for (int round = 0; round < kMaxRounds; ++round) {
      const StandingTable standing = TRY(survey(session_, Depth::kMark));
      if (standing.mark != mark) return {};
      MessageBuffer batch;
      batch.begin_batch(standing.generation);
      delete_named_table(batch, kVmTable);
      batch.end_batch();
      if (TRY(session_.commit(batch).context(action)) != Commit::kDone) continue;
      deleted_ = true;
      return {};
    }
    return restless(action);
  }

 private:
  Result<bool> has_exact_lists(const VmTableRules& rules) {
    const StandingTable standing = TRY(survey(session_, Depth::kLists));
    return standing.mark == rules.owner.mark() && std::ranges::any_of(standing.chains, [&](const StandingChain& chain) {
             return chain.comment == lists_mark(rules).text();
           });
  }

  NftSession session_;
  bool deleted_ = false;  ///< then a close would wait for 7 to 24 ms
};

}  // namespace

Result<std::unique_ptr<VmTableStore>> open_nft_vm_table() {
  return std::unique_ptr<VmTableStore>(std::make_unique<NftVmTable>(TRY(NftSession::open())));
}

}  // namespace slicer::netfilter
