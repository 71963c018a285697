#include "lib/netfilter/vm_policy.h"

#include <fmt/format.h>
#include <libnftnl/expr.h>
#include <libnftnl/set.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <string_view>

#include "lib/netfilter/egress_table.h"
#include "lib/netfilter/nftables/codec.h"
#include "lib/netfilter/nftables/handles.h"
#include "lib/netfilter/nftables/named_table.h"
#include "lib/netfilter/vm_table.h"

namespace slicer::netfilter {
namespace {

// As vm_table.cc writes them.
constexpr const char* kVmTable = "slicer-vm";
constexpr const char* kPolicy = "policy";
constexpr const char* kPorts = "ports";
constexpr const char* kRefused = "refused";
constexpr const char* kAddressesSet = "addresses";
constexpr const char* kDroppedPorts = "dropped-ports";
constexpr const char* kAllowedPorts = "allowed-ports";
constexpr int kMaxRounds = 200;
constexpr uint32_t kAddressSize = 4;
constexpr uint32_t kPairSize = 8;  // address, port, two bytes of padding

/// One element as the kernel keeps it.
struct RawElement {
  addr::Ip address = {};
  addr::Ip last_address = {};
  PortRange ports = {};
  bool interval_end = false;
};

struct RuleFacts {
  std::string chain = {};
  uint64_t packets = 0;
  bool logs = false;
  bool accepts = false;
};

void read_expression(const nftnl_expr* expression, RuleFacts& facts) {
  const std::string_view name = nftnl_expr_get_str(expression, NFTNL_EXPR_NAME);
  if (name == "counter") facts.packets += nftnl_expr_get_u64(expression, NFTNL_EXPR_CTR_PACKETS);
  if (name == "log") facts.logs = true;
  if (name == "immediate" && nftnl_expr_is_set(expression, NFTNL_EXPR_IMM_VERDICT))
    facts.accepts = nftnl_expr_get_u32(expression, NFTNL_EXPR_IMM_VERDICT) == NF_ACCEPT;
}

RuleFacts read_facts(const nlmsghdr* message) {
  RuleFacts facts;
  const RulePtr rule(nftnl_rule_alloc());
  if (nftnl_rule_nlmsg_parse(message, rule.get()) < 0) return facts;
  facts.chain = nftnl_rule_get_str(rule.get(), NFTNL_RULE_CHAIN);
  nftnl_expr_iter* iterator = nftnl_expr_iter_create(rule.get());
  if (iterator == nullptr) return facts;
  while (const nftnl_expr* expression = nftnl_expr_iter_next(iterator)) read_expression(expression, facts);
  nftnl_expr_iter_destroy(iterator);
  return facts;
}

uint16_t port_at(const uint8_t* key) { return static_cast<uint16_t>(key[4] << 8 | key[5]); }

int read_element(nftnl_set_elem* element, void* into) {
  uint32_t size = 0;
  const auto* key = static_cast<const uint8_t*>(nftnl_set_elem_get(element, NFTNL_SET_ELEM_KEY, &size));
  if (key == nullptr || (size != kAddressSize && size != kPairSize)) return 0;
  RawElement raw{.address = addr::Ip::from_bytes({key, kAddressSize})};
  raw.interval_end = nftnl_set_elem_is_set(element, NFTNL_SET_ELEM_FLAGS) &&
                     (nftnl_set_elem_get_u32(element, NFTNL_SET_ELEM_FLAGS) & NFT_SET_ELEM_INTERVAL_END) != 0;
  uint32_t end_size = 0;
  const auto* end = static_cast<const uint8_t*>(nftnl_set_elem_get(element, NFTNL_SET_ELEM_KEY_END, &end_size));
  if (end == nullptr || end_size != size) end = key;  // a single value has no end of its own
  raw.last_address = addr::Ip::from_bytes({end, kAddressSize});
  if (size == kPairSize) raw.ports = {.first = port_at(key), .last = port_at(end)};
  static_cast<std::vector<RawElement>*>(into)->push_back(raw);
  return 0;
}

/// Intervals come as where they begin and where what follows them begins, in any order.
std::vector<addr::IpRange> intervals_of(std::vector<RawElement> halves) {
  std::ranges::sort(halves, [](const RawElement& a, const RawElement& b) {
    return a.address != b.address ? a.address < b.address : a.interval_end && !b.interval_end;
  });
  std::vector<addr::IpRange> intervals;
  const RawElement* open = nullptr;
  for (const RawElement& half : halves) {
    if (open != nullptr)
      intervals.push_back({.first = open->address, .last = {half.address.family(), half.address.value() - 1}});
    open = half.interval_end ? nullptr : &half;
  }
  if (open != nullptr) intervals.push_back({.first = open->address, .last = {addr::Family::kIpv4, ~addr::Uint128{0}}});
  return intervals;
}

class Reader {
 public:
  explicit Reader(NftSession& session) : session_(session) {}

  /// False: the ruleset changed meanwhile.
  Result<bool> run(std::optional<PolicyInForce>& found) {
    if (!TRY(has_table())) {
      found.reset();
      return true;
    }
    const uint32_t generation = TRY(read_current_generation(session_));
    PolicyInForce policy;
    TRY(read_rules(policy));
    TRY(read_addresses(policy.policy));
    TRY(read_ports(kDroppedPorts, PolicyVerdict::kDrop, policy.policy));
    TRY(read_ports(kAllowedPorts, PolicyVerdict::kAllow, policy.policy));
    std::ranges::sort(policy.policy.ports, [](const PortVerdict& a, const PortVerdict& b) {
      return std::pair(a.addresses.first, a.ports.first) < std::pair(b.addresses.first, b.ports.first);
    });
    found = std::move(policy);
    return !interrupted_ && TRY(read_current_generation(session_)) == generation;
  }

 private:
  Result<bool> has_table() {
    bool there = false;
    MessageBuffer question;
    (void)ask_table(question, kVmTable);
    TRY(session_.ask(question, [&](uint32_t, const nlmsghdr* message) { there = there || is_table_answer(message); }));
    return there;
  }

  Result<void> read_rules(PolicyInForce& policy) {
    MessageBuffer question;
    (void)ask_table_rules(question, kVmTable);
    const Answers answers = TRY(session_.ask(question, [&](uint32_t, const nlmsghdr* message) {
      if (kind_of(message) == AnswerKind::kRule) take(read_facts(message), policy);
    }));
    interrupted_ = interrupted_ || answers.interrupted;
    return {};
  }

  // The last rule of the chain that judges is the last word.
  static void take(const RuleFacts& facts, PolicyInForce& policy) {
    if (facts.chain == kPolicy) policy.policy.fallback = facts.accepts ? PolicyVerdict::kAllow : PolicyVerdict::kDrop;
    if (facts.chain == kPolicy || facts.chain == kPorts) policy.passed += facts.packets;
    if (facts.chain == kRefused) policy.dropped += facts.packets;
    policy.log = policy.log || facts.logs;
  }

  Result<std::vector<RawElement>> elements_of(const char* set_name) {
    std::vector<RawElement> elements;
    MessageBuffer question;
    (void)ask_pairs(question, kVmTable, set_name);
    const Answers answers = TRY(session_.ask(question, [&](uint32_t, const nlmsghdr* message) {
      if (kind_of(message) != AnswerKind::kElements) return;
      const SetPtr set(nftnl_set_alloc());
      if (nftnl_set_elems_nlmsg_parse(message, set.get()) >= 0)
        (void)nftnl_set_elem_foreach(set.get(), read_element, &elements);
    }));
    interrupted_ = interrupted_ || answers.interrupted;
    return elements;
  }

  Result<void> read_addresses(CompiledPolicy& policy) {
    const bool allows = policy.fallback == PolicyVerdict::kAllow;
    for (const addr::IpRange& interval : intervals_of(TRY(elements_of(kAddressesSet))))
      policy.addresses.push_back(
          {.addresses = interval, .verdict = allows ? PolicyVerdict::kDrop : PolicyVerdict::kAllow});
    return {};
  }

  Result<void> read_ports(const char* set_name, PolicyVerdict verdict, CompiledPolicy& policy) {
    for (const RawElement& element : TRY(elements_of(set_name)))
      policy.ports.push_back({.addresses = {.first = element.address, .last = element.last_address},
                              .ports = element.ports,
                              .verdict = verdict});
    return {};
  }

  NftSession& session_;
  bool interrupted_ = false;
};

}  // namespace

Result<std::optional<PolicyInForce>> read_vm_policy() {
  Result<NftSession> opened = NftSession::open();
  if (!opened && opened.error().kind == Kind::kUnsupportedKernel) return read_legacy_vm_policy();
  NftSession session = TRY(std::move(opened));
  for (int round = 0; round < kMaxRounds; ++round) {
    std::optional<PolicyInForce> found;
    if (!TRY(Reader(session).run(found))) continue;
    if (found) return found;
    if (std::optional<PolicyInForce> legacy = TRY(read_legacy_vm_policy())) return legacy;
    EgressTable macvtap = TRY(EgressTable::open());
    return macvtap.list();
  }
  return fail(Kind::kBusy,
              fmt::format("read table 'inet {}': the ruleset changed {} times in a row", kVmTable, kMaxRounds),
              "try again");
}

}  // namespace slicer::netfilter
