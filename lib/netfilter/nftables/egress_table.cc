#include "lib/netfilter/egress_table.h"

#include <fmt/format.h>
#include <libnftnl/chain.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "lib/netfilter/nftables/handles.h"
#include "lib/netfilter/nftables/named_table.h"
#include "lib/netfilter/nftables/policy.h"
#include "lib/netfilter/nftables/policy_reading.h"
#include "lib/netfilter/nftables/rule_builder.h"

namespace slicer::netfilter {
namespace {

constexpr int kMaxRounds = 200;
constexpr const char* kEgressTable = "slicer-vm";
constexpr const char* kEgressChain = "egress";
constexpr const char* kFragmentsChain = "fragments";
constexpr uint32_t kEgressHook = 1;  // NF_NETDEV_EGRESS, since Linux 5.16

// RFC 9293, section 3.1.
constexpr uint8_t kSyn = 0x02;
constexpr uint8_t kAck = 0x10;
// RFC 792: echo reply, destination unreachable, time exceeded, parameter problem. RFC 4443: the four errors, echo
// reply.
constexpr std::array<uint8_t, 4> kIcmpAnswers{0, 3, 11, 12};
constexpr std::array<TypeRange, 2> kIcmp6Answers{TypeRange{.first = 1, .last = 4},
                                                 TypeRange{.first = 129, .last = 129}};
// RFC 2710, 4861 and 3810: listeners and router solicitation, neighbour messages, listener report.
constexpr TypeRange kListenersAndSolicitation{.first = 131, .last = 133};
constexpr TypeRange kNeighbourMessages{.first = 135, .last = 136};
constexpr TypeRange kListenerReport{.first = 143, .last = 143};
// RFC 2131, section 4.1; RFC 8415, section 7.2.
constexpr uint16_t kDhcpClient = 68;
constexpr uint16_t kDhcpServer = 67;
constexpr uint16_t kDhcp6Client = 546;
constexpr uint16_t kDhcp6Server = 547;

ChainPlace egress_place() { return {.family = kNetdev, .table = kEgressTable, .chain = kEgressChain}; }

addr::Cidr link_multicast() {
  return {.ip = addr::Ip(addr::Family::kIpv6, addr::Uint128{0xff02} << 112), .prefix = 16};
}
addr::Cidr broadcast() { return {.ip = addr::Ip(addr::Family::kIpv4, 0xffffffffU), .prefix = 32}; }

std::string id_of(const EgressRules& rules) { return policy_id(rules.policy, rules.log_prefix); }

RuleBuilder egress_rule() { return RuleBuilder(egress_place()); }

/// ARP passes; what no list can speak about does not, and neither does a source route past the lists. IGMP has the
/// router alert option (RFC 2236, section 2).
void put_kinds(MessageBuffer& out) {
  egress_rule().ethertype(ETH_P_ARP).accept().put(out);
  egress_rule().ethertype(ETH_P_IP, true).ethertype(ETH_P_IPV6, true).drop().put(out);
  egress_rule().long_ipv4_header().l4_protocol(IPPROTO_IGMP, true).drop().put(out);
}

/// A later fragment is judged by its address alone: bytes of the guest's choice stand where the kernel would look for
/// flags, types and ports. One that begins within TCP's header could write another SYN over flags that have been looked
/// at, where the receiver lets it (RFC 3128); IPv6's receivers never do (RFC 5722).
void put_fragments(MessageBuffer& out, const PolicyPlace& place, const CompiledPolicy& policy) {
  const ChainPlace chain{.family = kNetdev, .table = kEgressTable, .chain = kFragmentsChain};
  put_plain_chain(out, chain, "");
  for (const MapSpec& map : policy_maps(place))
    if (!map.ports && !map_elements(map, place.id, policy).empty())
      RuleBuilder(chain).destination_verdict(map.family, map.name).put(out);
  const bool allows = policy.fallback == PolicyVerdict::kAllow;
  RuleBuilder(chain).go_to(allows ? pass_chain(place.id) : drop_chain(place.id)).put(out);
  for (const uint16_t units : {uint16_t{1}, uint16_t{2}})
    egress_rule().l4_protocol(IPPROTO_TCP).fragment_at(units).drop().put(out);
  for (const addr::Family family : {addr::Family::kIpv4, addr::Family::kIpv6})
    egress_rule().later_fragment(family).go_to(kFragmentsChain).put(out);
}

/// What could be an answer to somebody else, and opens nothing by itself. A TCP segment without SYN, or with ACK, makes
/// no connection; UDP has nothing of the kind.
void put_answers(MessageBuffer& out) {
  egress_rule().tcp_flags(kSyn | kAck, kSyn, true).accept().put(out);
  for (const uint8_t type : kIcmpAnswers) egress_rule().icmp_type(type).accept().put(out);
  for (const TypeRange types : kIcmp6Answers) egress_rule().icmpv6_type(types).accept().put(out);
}

/// Neighbour discovery and DHCP. A neighbour's answer goes to any address: on a LAN that is the asker's.
void put_link_services(MessageBuffer& out) {
  for (const TypeRange types : {kListenersAndSolicitation, kListenerReport})
    egress_rule().icmpv6_type(types).destination(link_multicast()).accept().put(out);
  egress_rule().icmpv6_type(kNeighbourMessages).accept().put(out);
  egress_rule().family(addr::Family::kIpv4).udp(kDhcpClient, kDhcpServer).destination(broadcast()).accept().put(out);
  egress_rule()
      .family(addr::Family::kIpv6)
      .udp(kDhcp6Client, kDhcp6Server)
      .destination(link_multicast())
      .accept()
      .put(out);
}

void put_all(MessageBuffer& out, const EgressRules& rules) {
  const PolicyPlace place{.family = kNetdev, .table = kEgressTable, .id = id_of(rules), .log_prefix = rules.log_prefix};
  put_named_table(out, kEgressTable, rules.owner.mark(), kNetdev);
  put_policy(out, place, rules.policy);
  put_base_chain(out, egress_place(), {.hook = kEgressHook, .device = rules.device}, "");
  put_kinds(out);
  put_fragments(out, place, rules.policy);
  put_answers(out);
  put_link_services(out);
  egress_rule().go_to(policy_chain(place.id)).put(out);
}

std::string device_of(const nlmsghdr* message) {
  const ChainPtr chain(nftnl_chain_alloc());
  if (nftnl_chain_nlmsg_parse(message, chain.get()) < 0) return {};
  const char* device = nftnl_chain_get_str(chain.get(), NFTNL_CHAIN_DEV);
  return device == nullptr ? std::string() : std::string(device);
}

struct Standing {
  uint32_t generation = 0;
  bool interrupted = false;
  std::optional<std::string> mark = {};
  std::optional<StandingChain> chain = {};
  std::string device = {};
  std::vector<std::string> rules = {};  ///< chain and text of each
};

std::string text_of(const nlmsghdr* message) {
  const StandingRuleText rule = read_rule_text(message);
  return rule.chain + rule.text;
}

void take(const nlmsghdr* message, Standing& standing) {
  if (is_table_answer(message)) standing.mark = read_table_comment(message);
  if (kind_of(message) == AnswerKind::kGeneration) standing.generation = read_generation(message);
  if (kind_of(message) == AnswerKind::kRule) standing.rules.push_back(text_of(message));
  if (kind_of(message) != AnswerKind::kChain) return;
  standing.chain = read_chain(message);
  standing.device = device_of(message);
}

Result<Standing> survey(NftSession& session, bool rules) {
  Standing standing;
  MessageBuffer question;
  (void)ask_generation(question);
  (void)ask_table(question, kEgressTable, kNetdev);
  if (rules) {
    (void)ask_chain(question, egress_place());
    (void)ask_table_rules(question, kEgressTable, kNetdev);
  }
  const Answers answers =
      TRY(session.ask(question, [&](uint32_t, const nlmsghdr* message) { take(message, standing); }));
  standing.interrupted = answers.interrupted;
  return standing;
}

/// As the kernel would list them, read from our own messages.
std::vector<std::string> wanted_rules(const EgressRules& rules) {
  MessageBuffer built;
  put_all(built, rules);
  std::vector<std::string> texts;
  for (size_t at = 0; at < built.size();) {
    const auto* message = reinterpret_cast<const nlmsghdr*>(built.bytes().data() + at);
    if (kind_of(message) == AnswerKind::kRule) texts.push_back(text_of(message));
    at += NLMSG_ALIGN(message->nlmsg_len);
  }
  return texts;
}

/// Order within a chain counts, that of the chains does not.
std::vector<std::string> by_chain(std::vector<std::string> texts) {
  std::ranges::stable_sort(texts, {}, [](const std::string& text) { return text.substr(0, text.find('[')); });
  return texts;
}

/// Empty: it stands.
std::string fault_of(const Standing& standing, const EgressRules& wanted) {
  if (!standing.mark) return "it is gone";
  if (*standing.mark != wanted.owner.mark()) return fmt::format("it belongs to '{}'", *standing.mark);
  if (!standing.chain) return fmt::format("chain '{}' is gone", kEgressChain);
  if (standing.chain->hook != kEgressHook || standing.device != wanted.device)
    return fmt::format("chain '{}' is not on the egress of '{}'", kEgressChain, wanted.device);
  return by_chain(standing.rules) == by_chain(wanted_rules(wanted)) ? "" : "its rules or lists are others";
}

std::unexpected<Error> restless(std::string_view action) {
  return fail(Kind::kBusy, fmt::format("{}: another program changed the ruleset {} times in a row", action, kMaxRounds),
              "try again; `nft monitor` shows who it is");
}

/// The kernel says EOPNOTSUPP for a hook, ENOENT for a link that it does not have.
Error put_error(Error error, const EgressRules& rules) {
  if (error.sys_errno == ENOENT || error.sys_errno == ENODEV) error.kind = Kind::kNotFound;
  if (error.sys_errno == EOPNOTSUPP) {
    error.kind = Kind::kUnsupportedKernel;
    error.hint =
        "lists on a macvtap need Linux 5.16 or newer with NETFILTER_EGRESS; on an older kernel take them out, "
        "or use slicer-bridge or slicer-isolated";
  }
  error.message += fmt::format(" (egress of '{}')", rules.device);
  return error;
}

}  // namespace

struct EgressTable::State {
  NftSession session;
  bool deleted = false;
};

EgressTable::EgressTable(std::unique_ptr<State> state) : state_(std::move(state)) {}
EgressTable::EgressTable(EgressTable&&) noexcept = default;
EgressTable& EgressTable::operator=(EgressTable&&) noexcept = default;
EgressTable::~EgressTable() {
  if (state_ && state_->deleted) std::move(state_->session).close_in_child();
}

Result<EgressTable> EgressTable::open() {
  NftSession session = TRY(NftSession::open());
  return EgressTable(std::unique_ptr<State>(new State{.session = std::move(session)}));
}

Result<std::optional<std::string>> EgressTable::mark() { return TRY(survey(state_->session, false)).mark; }

Result<void> EgressTable::put(const EgressRules& rules) {
  const std::string action = fmt::format("write the lists of '{}'", rules.owner.alias);
  for (int round = 0; round < kMaxRounds; ++round) {
    const Standing standing = TRY(survey(state_->session, false));
    MessageBuffer batch;
    batch.begin_batch(standing.generation);
    if (standing.mark) delete_named_table(batch, kEgressTable, kNetdev);
    put_all(batch, rules);
    batch.end_batch();
    Result<Commit> done = state_->session.commit(batch).context(action);
    if (!done) return std::unexpected(put_error(std::move(done).error(), rules));
    if (*done != Commit::kDone) continue;
    state_->deleted = state_->deleted || standing.mark.has_value();
    return {};
  }
  return restless(action);
}

Result<void> EgressTable::check(const EgressRules& rules) {
  const std::string action = fmt::format("check table 'netdev {}' of '{}'", kEgressTable, rules.owner.alias);
  for (int round = 0; round < kMaxRounds; ++round) {
    const Standing standing = TRY(survey(state_->session, true));
    if (standing.interrupted) continue;
    const std::string fault = fault_of(standing, rules);
    if (fault.empty()) return {};
    return fail(Kind::kMismatch, fmt::format("{}: {}", action, fault), "delete the attachment and add it again");
  }
  return restless(action);
}

Result<std::optional<PolicyInForce>> EgressTable::list() {
  for (int round = 0; round < kMaxRounds; ++round) {
    const Standing standing = TRY(survey(state_->session, true));
    if (standing.interrupted) continue;
    if (!standing.mark) return std::nullopt;
    for (const std::string& rule : standing.rules) {
      const std::string chain = rule.substr(0, rule.find('['));
      if (!is_policy_chain(chain)) continue;
      const std::string id = chain.substr(policy_chain("").size());
      std::optional<PolicyInForce> found =
          TRY(read_policy(state_->session, {.family = kNetdev, .table = kEgressTable, .id = id}));
      if (found && TRY(read_current_generation(state_->session)) == standing.generation) return found;
      break;
    }
  }
  return restless(fmt::format("read table 'netdev {}'", kEgressTable));
}

Result<void> EgressTable::remove() {
  const std::string action = fmt::format("remove table 'netdev {}'", kEgressTable);
  for (int round = 0; round < kMaxRounds; ++round) {
    const Standing standing = TRY(survey(state_->session, false));
    if (!standing.mark) return {};
    MessageBuffer batch;
    batch.begin_batch(standing.generation);
    delete_named_table(batch, kEgressTable, kNetdev);
    batch.end_batch();
    if (TRY(state_->session.commit(batch).context(action)) != Commit::kDone) continue;
    state_->deleted = true;
    return {};
  }
  return restless(action);
}

}  // namespace slicer::netfilter
