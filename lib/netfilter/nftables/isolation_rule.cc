#include "lib/netfilter/nftables/isolation_rule.h"

#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <net/if.h>

#include <array>
#include <string_view>

#include "lib/netfilter/nftables/codec.h"

namespace slicer::netfilter {
namespace {

// RFC 791, section 3.1: version and header length, source, destination.
constexpr uint32_t kIpv4Start = 0;
constexpr uint32_t kIpv4Source = 12;
constexpr uint32_t kIpv4Destination = 16;
constexpr uint8_t kHeaderWordsMask = 0x0f;
constexpr uint8_t kHeaderWordsPlain = 5;
// RFC 792 and RFC 9293, RFC 768: the type of an ICMP message, the destination port of TCP and UDP.
constexpr uint32_t kIcmpType = 0;
constexpr uint32_t kDestinationPort = 2;
// linux/netfilter/nf_conntrack_common.h: NF_CT_STATE_BIT(IP_CT_ESTABLISHED) and of IP_CT_RELATED; IP_CT_DIR_REPLY.
constexpr uint32_t kEstablishedOrRelated = 1U << 1 | 1U << 2;
constexpr uint8_t kReplyDirection = 1;
constexpr uint64_t kPerSecond = 1;

}  // namespace

void IsolationRule::Free::operator()(nftnl_rule* rule) const { nftnl_rule_free(rule); }

IsolationRule::IsolationRule(const std::string& table, const std::string& chain, const std::string& comment)
    : chain_(chain), rule_(nftnl_rule_alloc()) {
  nftnl_rule_set_u32(rule_.get(), NFTNL_RULE_FAMILY, kInet);
  nftnl_rule_set_str(rule_.get(), NFTNL_RULE_TABLE, table.c_str());
  nftnl_rule_set_str(rule_.get(), NFTNL_RULE_CHAIN, chain.c_str());
  if (comment.empty()) return;
  nftnl_udata_buf* data = nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN);
  nftnl_udata_put_strz(data, NFTNL_UDATA_RULE_COMMENT, comment.c_str());
  nftnl_rule_set_data(rule_.get(), NFTNL_RULE_USERDATA, nftnl_udata_buf_data(data), nftnl_udata_buf_len(data));
  nftnl_udata_buf_free(data);
}

void IsolationRule::meta(uint32_t key) {
  nftnl_expr* load = nftnl_expr_alloc("meta");
  nftnl_expr_set_u32(load, NFTNL_EXPR_META_DREG, NFT_REG_1);
  nftnl_expr_set_u32(load, NFTNL_EXPR_META_KEY, key);
  nftnl_rule_add_expr(rule_.get(), load);
}

void IsolationRule::payload(uint32_t base, uint32_t offset, uint32_t size, uint32_t reg) {
  nftnl_expr* load = nftnl_expr_alloc("payload");
  nftnl_expr_set_u32(load, NFTNL_EXPR_PAYLOAD_DREG, reg);
  nftnl_expr_set_u32(load, NFTNL_EXPR_PAYLOAD_BASE, base);
  nftnl_expr_set_u32(load, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
  nftnl_expr_set_u32(load, NFTNL_EXPR_PAYLOAD_LEN, size);
  nftnl_rule_add_expr(rule_.get(), load);
}

void IsolationRule::compare(bool equal, const void* data, size_t size) {
  nftnl_expr* expression = nftnl_expr_alloc("cmp");
  nftnl_expr_set_u32(expression, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_CMP_OP, equal ? NFT_CMP_EQ : NFT_CMP_NEQ);
  nftnl_expr_set(expression, NFTNL_EXPR_CMP_DATA, data, static_cast<uint32_t>(size));
  nftnl_rule_add_expr(rule_.get(), expression);
}

void IsolationRule::greater(uint8_t value) {
  nftnl_expr* expression = nftnl_expr_alloc("cmp");
  nftnl_expr_set_u32(expression, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_CMP_OP, NFT_CMP_GT);
  nftnl_expr_set(expression, NFTNL_EXPR_CMP_DATA, &value, sizeof(value));
  nftnl_rule_add_expr(rule_.get(), expression);
}

void IsolationRule::mask(std::span<const uint8_t> bits) {
  const std::array<uint8_t, 16> zero{};
  const auto size = static_cast<uint32_t>(bits.size());
  nftnl_expr* expression = nftnl_expr_alloc("bitwise");
  nftnl_expr_set_u32(expression, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_BITWISE_LEN, size);
  nftnl_expr_set(expression, NFTNL_EXPR_BITWISE_MASK, bits.data(), size);
  nftnl_expr_set(expression, NFTNL_EXPR_BITWISE_XOR, zero.data(), size);
  nftnl_rule_add_expr(rule_.get(), expression);
}

void IsolationRule::lookup(const std::string& set) {
  nftnl_expr* expression = nftnl_expr_alloc("lookup");
  nftnl_expr_set_u32(expression, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
  nftnl_expr_set_str(expression, NFTNL_EXPR_LOOKUP_SET, set.c_str());
  nftnl_expr_set_u32(expression, NFTNL_EXPR_LOOKUP_FLAGS, 0);  // as the kernel lists it
  nftnl_rule_add_expr(rule_.get(), expression);
}

void IsolationRule::verdict(uint32_t code, const std::string& chain) {
  nftnl_expr* immediate = nftnl_expr_alloc("immediate");
  nftnl_expr_set_u32(immediate, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
  nftnl_expr_set_u32(immediate, NFTNL_EXPR_IMM_VERDICT, code);
  if (!chain.empty()) nftnl_expr_set_str(immediate, NFTNL_EXPR_IMM_CHAIN, chain.c_str());
  nftnl_rule_add_expr(rule_.get(), immediate);
}

/// An address match in a table of both families says its protocol first, once.
void IsolationRule::ipv4() {
  if (ipv4_said_) return;
  ipv4_said_ = true;
  const uint8_t family = NFPROTO_IPV4;
  meta(NFT_META_NFPROTO);
  compare(true, &family, sizeof(family));
}

IsolationRule& IsolationRule::link(Way way, const std::string& name) {
  meta(way == Way::kIn ? NFT_META_IIFNAME : NFT_META_OIFNAME);
  std::array<char, IFNAMSIZ> whole{};
  name.copy(whole.data(), whole.size() - 1);
  compare(true, whole.data(), whole.size());
  return *this;
}

IsolationRule& IsolationRule::links(Way way, const std::string& prefix) {
  meta(way == Way::kIn ? NFT_META_IIFNAME : NFT_META_OIFNAME);
  compare(true, prefix.data(), prefix.size());  // as far as the prefix goes
  return *this;
}

IsolationRule& IsolationRule::listed_link(Way way, const std::string& set) {
  meta(way == Way::kIn ? NFT_META_IIFNAME : NFT_META_OIFNAME);
  lookup(set);
  return *this;
}

IsolationRule& IsolationRule::not_ipv4() {
  const uint8_t family = NFPROTO_IPV4;
  meta(NFT_META_NFPROTO);
  compare(false, &family, sizeof(family));
  return *this;
}

IsolationRule& IsolationRule::source_not(const addr::Ip& ip) {
  ipv4();
  payload(NFT_PAYLOAD_NETWORK_HEADER, kIpv4Source, 4, NFT_REG_1);
  compare(false, ip.bytes().data(), 4);
  return *this;
}

IsolationRule& IsolationRule::destination(const addr::Cidr& prefix) {
  ipv4();
  payload(NFT_PAYLOAD_NETWORK_HEADER, kIpv4Destination, 4, NFT_REG_1);
  const std::array<uint8_t, 16> bits = prefix.mask().bytes();
  if (prefix.prefix < 32) mask(std::span(bits).first(4));
  compare(true, prefix.first().bytes().data(), 4);
  return *this;
}

IsolationRule& IsolationRule::destination_not(const addr::Ip& ip) {
  ipv4();
  payload(NFT_PAYLOAD_NETWORK_HEADER, kIpv4Destination, 4, NFT_REG_1);
  compare(false, ip.bytes().data(), 4);
  return *this;
}

IsolationRule& IsolationRule::pair_in(const std::string& set) {
  ipv4();
  payload(NFT_PAYLOAD_NETWORK_HEADER, kIpv4Source, 4, NFT_REG_1);
  payload(NFT_PAYLOAD_NETWORK_HEADER, kIpv4Destination, 4, NFT_REG32_01);
  lookup(set);
  return *this;
}

IsolationRule& IsolationRule::destination_in(const std::string& set) {
  ipv4();
  payload(NFT_PAYLOAD_NETWORK_HEADER, kIpv4Destination, 4, NFT_REG_1);
  lookup(set);
  return *this;
}

IsolationRule& IsolationRule::destination_port_in(const std::string& set) {
  ipv4();
  payload(NFT_PAYLOAD_NETWORK_HEADER, kIpv4Destination, 4, NFT_REG_1);
  payload(NFT_PAYLOAD_TRANSPORT_HEADER, kDestinationPort, 2, NFT_REG32_01);
  lookup(set);
  return *this;
}

IsolationRule& IsolationRule::destination_type(uint32_t type) {
  nftnl_expr* load = nftnl_expr_alloc("fib");
  nftnl_expr_set_u32(load, NFTNL_EXPR_FIB_DREG, NFT_REG_1);
  nftnl_expr_set_u32(load, NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
  nftnl_expr_set_u32(load, NFTNL_EXPR_FIB_FLAGS, NFTA_FIB_F_DADDR);
  nftnl_rule_add_expr(rule_.get(), load);
  compare(true, &type, sizeof(type));
  return *this;
}

IsolationRule& IsolationRule::reply() {
  const auto load = [&](uint32_t key) {
    nftnl_expr* expression = nftnl_expr_alloc("ct");
    nftnl_expr_set_u32(expression, NFTNL_EXPR_CT_DREG, NFT_REG_1);
    nftnl_expr_set_u32(expression, NFTNL_EXPR_CT_KEY, key);
    nftnl_rule_add_expr(rule_.get(), expression);
  };
  load(NFT_CT_DIRECTION);
  compare(true, &kReplyDirection, sizeof(kReplyDirection));
  load(NFT_CT_STATE);
  const uint32_t none = 0;
  mask(std::span(reinterpret_cast<const uint8_t*>(&kEstablishedOrRelated), sizeof(kEstablishedOrRelated)));
  compare(false, &none, sizeof(none));
  return *this;
}

IsolationRule& IsolationRule::protocol(uint8_t number) {
  meta(NFT_META_L4PROTO);
  compare(true, &number, sizeof(number));
  return *this;
}

IsolationRule& IsolationRule::icmp_type(uint8_t type) {
  payload(NFT_PAYLOAD_TRANSPORT_HEADER, kIcmpType, 1, NFT_REG_1);
  compare(true, &type, sizeof(type));
  return *this;
}

IsolationRule& IsolationRule::has_ipv4_options() {
  ipv4();
  payload(NFT_PAYLOAD_NETWORK_HEADER, kIpv4Start, 1, NFT_REG_1);
  mask(std::span(&kHeaderWordsMask, 1));
  greater(kHeaderWordsPlain);
  return *this;
}

IsolationRule& IsolationRule::limit(uint64_t per_second, uint32_t burst) {
  nftnl_expr* expression = nftnl_expr_alloc("limit");
  nftnl_expr_set_u64(expression, NFTNL_EXPR_LIMIT_RATE, per_second);
  nftnl_expr_set_u64(expression, NFTNL_EXPR_LIMIT_UNIT, kPerSecond);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_LIMIT_BURST, burst);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_LIMIT_TYPE, NFT_LIMIT_PKTS);
  nftnl_rule_add_expr(rule_.get(), expression);
  return *this;
}

IsolationRule& IsolationRule::log(uint16_t group, const std::string& prefix) {
  nftnl_expr* expression = nftnl_expr_alloc("log");
  nftnl_expr_set_u16(expression, NFTNL_EXPR_LOG_GROUP, group);
  if (!prefix.empty()) nftnl_expr_set_str(expression, NFTNL_EXPR_LOG_PREFIX, prefix.c_str());
  nftnl_rule_add_expr(rule_.get(), expression);
  return *this;
}

IsolationRule& IsolationRule::counter() {
  nftnl_rule_add_expr(rule_.get(), nftnl_expr_alloc("counter"));
  return *this;
}

IsolationRule& IsolationRule::accept() { return verdict(NF_ACCEPT), *this; }
IsolationRule& IsolationRule::drop() { return verdict(NF_DROP), *this; }
IsolationRule& IsolationRule::jump(const std::string& chain) {
  return verdict(static_cast<uint32_t>(NFT_JUMP), chain), *this;
}
IsolationRule& IsolationRule::go_to(const std::string& chain) {
  return verdict(static_cast<uint32_t>(NFT_GOTO), chain), *this;
}

namespace {

std::string expressions_text(const nftnl_rule* rule) {
  std::string text;
  nftnl_expr_iter* iterator = nftnl_expr_iter_create(rule);
  for (const nftnl_expr* each = nullptr; iterator != nullptr && (each = nftnl_expr_iter_next(iterator)) != nullptr;) {
    const std::string_view name = nftnl_expr_get_str(each, NFTNL_EXPR_NAME);
    text.append("[").append(name);
    // What these show changes by itself, or has defaults that the kernel fills in.
    if (name != "counter" && name != "limit" && name != "log") {
      std::array<char, 512> buffer{};
      if (nftnl_expr_snprintf(buffer.data(), buffer.size(), each, NFTNL_OUTPUT_DEFAULT, 0) > 0)
        text.append(" ").append(buffer.data());
    }
    // Words of four bytes are shown: without the size a prefix of names looks like a whole one.
    uint32_t size = 0;
    if (name == "cmp" && nftnl_expr_get(each, NFTNL_EXPR_CMP_DATA, &size) != nullptr)
      text.append(" ").append(std::to_string(size));
    text.append("]");
  }
  if (iterator != nullptr) nftnl_expr_iter_destroy(iterator);
  return text;
}

}  // namespace

std::string IsolationRule::text() const { return expressions_text(rule_.get()); }

void IsolationRule::put(MessageBuffer& out) const {
  nftnl_rule_nlmsg_build_payload(out.open(NFT_MSG_NEWRULE, kInet, NLM_F_CREATE | NLM_F_APPEND), rule_.get());
  (void)out.close();
}

StandingIsolationRule read_isolation_rule(const nlmsghdr* message) {
  StandingIsolationRule standing;
  nftnl_rule* rule = nftnl_rule_alloc();
  if (nftnl_rule_nlmsg_parse(message, rule) >= 0) {
    const auto text_of = [&](uint16_t attribute) {
      const char* text = nftnl_rule_get_str(rule, attribute);
      return text == nullptr ? std::string() : std::string(text);
    };
    standing.table = text_of(NFTNL_RULE_TABLE);
    standing.chain = text_of(NFTNL_RULE_CHAIN);
    standing.text = expressions_text(rule);
  }
  nftnl_rule_free(rule);
  return standing;
}

}  // namespace slicer::netfilter
