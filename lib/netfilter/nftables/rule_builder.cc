#include "lib/netfilter/nftables/rule_builder.h"

#include <arpa/inet.h>
#include <libnftnl/expr.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/in.h>

#include <array>
#include <string_view>
#include <utility>

namespace slicer::netfilter {
namespace {

// Offsets of the addresses in their headers: RFC 791, section 3.1; RFC 8200, section 3.
constexpr uint32_t source_offset(addr::Family family) { return family == addr::Family::kIpv4 ? 12 : 8; }
constexpr uint32_t destination_offset(addr::Family family) { return family == addr::Family::kIpv4 ? 16 : 24; }

constexpr uint8_t protocol_of(addr::Family family) {
  return family == addr::Family::kIpv4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
}

constexpr uint32_t size_of(addr::Family family) { return addr::bits_of(family) / 8; }

// nft keeps the parts of a concatenated key in consecutive registers of 4 bytes each; NFT_REG_1 is where NFT_REG32_00
// begins, NFT_REG_2 where NFT_REG32_04 does, and the kernel lists that under the first name.
constexpr uint32_t register_behind(addr::Family family) {
  return family == addr::Family::kIpv4 ? uint32_t{NFT_REG32_01} : uint32_t{NFT_REG_2};
}

constexpr uint32_t kDestinationPort = 2;  // RFC 9293 and RFC 768
constexpr uint32_t kLimitUnitSeconds = 1;
constexpr uint32_t kRegister = NFT_REG_1;

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

RuleBuilder::RuleBuilder(ChainPlace place) : place_(std::move(place)), rule_(nftnl_rule_alloc()) {
  nftnl_rule_set_str(rule_.get(), NFTNL_RULE_TABLE, place_.table.c_str());
  nftnl_rule_set_str(rule_.get(), NFTNL_RULE_CHAIN, place_.chain.c_str());
  nftnl_rule_set_u32(rule_.get(), NFTNL_RULE_FAMILY, place_.family);
}

nftnl_expr* RuleBuilder::add(const char* name) {
  nftnl_expr* expression = nftnl_expr_alloc(name);
  nftnl_rule_add_expr(rule_.get(), expression);
  return expression;
}

void RuleBuilder::meta(uint32_t key) {
  nftnl_expr* expression = add("meta");
  nftnl_expr_set_u32(expression, NFTNL_EXPR_META_DREG, kRegister);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_META_KEY, key);
}

void RuleBuilder::load(uint32_t base, uint32_t offset, uint32_t size, uint32_t into) {
  nftnl_expr* expression = add("payload");
  nftnl_expr_set_u32(expression, NFTNL_EXPR_PAYLOAD_DREG, into == 0 ? kRegister : into);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_PAYLOAD_BASE, base);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_PAYLOAD_LEN, size);
}

void RuleBuilder::compare(const void* data, size_t size, bool negate) {
  nftnl_expr* expression = add("cmp");
  nftnl_expr_set_u32(expression, NFTNL_EXPR_CMP_SREG, kRegister);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_CMP_OP, negate ? NFT_CMP_NEQ : NFT_CMP_EQ);
  nftnl_expr_set(expression, NFTNL_EXPR_CMP_DATA, data, static_cast<uint32_t>(size));
}

void RuleBuilder::mask(const void* bits, size_t size) {
  const std::array<uint8_t, 16> zero{};
  nftnl_expr* expression = add("bitwise");
  nftnl_expr_set_u32(expression, NFTNL_EXPR_BITWISE_SREG, kRegister);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_BITWISE_DREG, kRegister);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_BITWISE_LEN, static_cast<uint32_t>(size));
  nftnl_expr_set(expression, NFTNL_EXPR_BITWISE_MASK, bits, static_cast<uint32_t>(size));
  nftnl_expr_set(expression, NFTNL_EXPR_BITWISE_XOR, zero.data(), static_cast<uint32_t>(size));
}

void RuleBuilder::masked(const addr::Cidr& prefix, uint32_t offset, bool negate) {
  family(prefix.family());
  const uint32_t size = size_of(prefix.family());
  load(NFT_PAYLOAD_NETWORK_HEADER, offset, size);
  if (prefix.prefix < addr::bits_of(prefix.family())) mask(prefix.mask().bytes().data(), size);
  compare(prefix.first().bytes().data(), size, negate);
}

void RuleBuilder::lookup(const std::string& set, bool verdict) {
  nftnl_expr* expression = add("lookup");
  nftnl_expr_set_u32(expression, NFTNL_EXPR_LOOKUP_SREG, kRegister);
  if (verdict) nftnl_expr_set_u32(expression, NFTNL_EXPR_LOOKUP_DREG, NFT_REG_VERDICT);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_LOOKUP_FLAGS, 0);  // as the kernel lists it
  nftnl_expr_set_str(expression, NFTNL_EXPR_LOOKUP_SET, set.c_str());
}

void RuleBuilder::verdict(int code, const std::string& chain) {
  nftnl_expr* expression = add("immediate");
  nftnl_expr_set_u32(expression, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_IMM_VERDICT, static_cast<uint32_t>(code));
  if (!chain.empty()) nftnl_expr_set_str(expression, NFTNL_EXPR_IMM_CHAIN, chain.c_str());
}

RuleBuilder& RuleBuilder::input(const std::string& name, bool negate) {
  meta(NFT_META_IIFNAME);
  compare(name.c_str(), name.size() + 1, negate);
  return *this;
}

RuleBuilder& RuleBuilder::output(const std::string& name, bool negate) {
  meta(NFT_META_OIFNAME);
  compare(name.c_str(), name.size() + 1, negate);
  return *this;
}

RuleBuilder& RuleBuilder::input_prefix(const std::string& prefix) {
  meta(NFT_META_IIFNAME);
  compare(prefix.data(), prefix.size());
  return *this;
}

RuleBuilder& RuleBuilder::output_prefix(const std::string& prefix) {
  meta(NFT_META_OIFNAME);
  compare(prefix.data(), prefix.size());
  return *this;
}

RuleBuilder& RuleBuilder::input_in(const std::string& set) {
  meta(NFT_META_IIFNAME);
  lookup(set, false);
  return *this;
}

RuleBuilder& RuleBuilder::output_in(const std::string& set) {
  meta(NFT_META_OIFNAME);
  lookup(set, false);
  return *this;
}

RuleBuilder& RuleBuilder::source(const addr::Cidr& prefix, bool negate) {
  masked(prefix, source_offset(prefix.family()), negate);
  return *this;
}

RuleBuilder& RuleBuilder::destination(const addr::Cidr& prefix, bool negate) {
  masked(prefix, destination_offset(prefix.family()), negate);
  return *this;
}

RuleBuilder& RuleBuilder::family(addr::Family family) {
  if (std::exchange(family_said_, true)) return *this;
  // To a netdev table every packet is NFPROTO_NETDEV's.
  if (place_.family == kNetdev) return ethertype(family == addr::Family::kIpv4 ? ETH_P_IP : ETH_P_IPV6);
  const uint8_t value = protocol_of(family);
  meta(NFT_META_NFPROTO);
  compare(&value, sizeof(value));
  return *this;
}

RuleBuilder& RuleBuilder::not_family(addr::Family family) {
  const uint8_t value = protocol_of(family);
  meta(NFT_META_NFPROTO);
  compare(&value, sizeof(value), true);
  return *this;
}

RuleBuilder& RuleBuilder::ethertype(uint16_t type, bool negate) {
  const uint16_t value = htons(type);
  meta(NFT_META_PROTOCOL);
  compare(&value, sizeof(value), negate);
  return *this;
}

RuleBuilder& RuleBuilder::l4_protocol(uint8_t protocol, bool negate) {
  meta(NFT_META_L4PROTO);
  compare(&protocol, sizeof(protocol), negate);
  return *this;
}

RuleBuilder& RuleBuilder::tcp_flags(uint8_t mask_bits, uint8_t value, bool negate) {
  constexpr uint32_t kFlags = 13;
  l4_protocol(IPPROTO_TCP);
  load(NFT_PAYLOAD_TRANSPORT_HEADER, kFlags, 1);
  mask(&mask_bits, sizeof(mask_bits));
  compare(&value, sizeof(value), negate);
  return *this;
}

RuleBuilder& RuleBuilder::long_ipv4_header() {
  constexpr uint8_t kHeaderWords = 0x0f;  // RFC 791, section 3.1
  constexpr uint8_t kWithoutOptions = 5;
  family(addr::Family::kIpv4);
  load(NFT_PAYLOAD_NETWORK_HEADER, 0, 1);
  mask(&kHeaderWords, sizeof(kHeaderWords));
  compare(&kWithoutOptions, sizeof(kWithoutOptions), true);
  return *this;
}

// RFC 791, section 3.1: the offset is the low 13 bits at byte 6. RFC 8200, section 4.5: the high 13 at byte 2 of the
// fragment header (44).
RuleBuilder& RuleBuilder::later_fragment(addr::Family family) {
  this->family(family);
  const bool v4 = family == addr::Family::kIpv4;
  if (v4) {
    load(NFT_PAYLOAD_NETWORK_HEADER, 6, 2);
  } else {
    nftnl_expr* expression = add("exthdr");
    nftnl_expr_set_u32(expression, NFTNL_EXPR_EXTHDR_DREG, kRegister);
    nftnl_expr_set_u8(expression, NFTNL_EXPR_EXTHDR_TYPE, IPPROTO_FRAGMENT);
    nftnl_expr_set_u32(expression, NFTNL_EXPR_EXTHDR_OFFSET, 2);
    nftnl_expr_set_u32(expression, NFTNL_EXPR_EXTHDR_LEN, 2);
    nftnl_expr_set_u32(expression, NFTNL_EXPR_EXTHDR_OP, NFT_EXTHDR_OP_IPV6);
  }
  const uint16_t offset = htons(v4 ? 0x1fff : 0xfff8);
  const uint16_t none = 0;
  mask(&offset, sizeof(offset));
  compare(&none, sizeof(none), true);
  return *this;
}

RuleBuilder& RuleBuilder::fragment_at(uint16_t units) {
  family(addr::Family::kIpv4);
  load(NFT_PAYLOAD_NETWORK_HEADER, 6, 2);
  const uint16_t offset = htons(0x1fff);
  const uint16_t wanted = htons(units);
  mask(&offset, sizeof(offset));
  compare(&wanted, sizeof(wanted));
  return *this;
}

RuleBuilder& RuleBuilder::icmp_type(uint8_t type) {
  family(addr::Family::kIpv4);
  l4_protocol(IPPROTO_ICMP);
  load(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1);
  compare(&type, sizeof(type));
  return *this;
}

RuleBuilder& RuleBuilder::icmpv6_type(TypeRange types) {
  family(addr::Family::kIpv6);
  l4_protocol(IPPROTO_ICMPV6);
  load(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1);
  nftnl_expr* expression = add("range");
  nftnl_expr_set_u32(expression, NFTNL_EXPR_RANGE_SREG, kRegister);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_RANGE_OP, NFT_RANGE_EQ);
  nftnl_expr_set(expression, NFTNL_EXPR_RANGE_FROM_DATA, &types.first, 1);
  nftnl_expr_set(expression, NFTNL_EXPR_RANGE_TO_DATA, &types.last, 1);
  return *this;
}

RuleBuilder& RuleBuilder::udp(uint16_t from, uint16_t to) {
  l4_protocol(IPPROTO_UDP);
  load(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 4);
  const std::array<uint16_t, 2> ports{htons(from), htons(to)};
  compare(ports.data(), sizeof(ports));
  return *this;
}

RuleBuilder& RuleBuilder::destination_type(AddressType type) {
  nftnl_expr* expression = add("fib");
  nftnl_expr_set_u32(expression, NFTNL_EXPR_FIB_DREG, kRegister);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_FIB_FLAGS, NFTA_FIB_F_DADDR);
  const auto value = static_cast<uint32_t>(type);
  compare(&value, sizeof(value));
  return *this;
}

RuleBuilder& RuleBuilder::source_elsewhere() {
  nftnl_expr* expression = add("fib");
  nftnl_expr_set_u32(expression, NFTNL_EXPR_FIB_DREG, kRegister);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_OIF);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_FIB_FLAGS, NFTA_FIB_F_SADDR | NFTA_FIB_F_IIF);
  const uint32_t none = 0;
  compare(&none, sizeof(none));
  return *this;
}

void RuleBuilder::connection(uint32_t key) {
  nftnl_expr* expression = add("ct");
  nftnl_expr_set_u32(expression, NFTNL_EXPR_CT_DREG, kRegister);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_CT_KEY, key);
}

void RuleBuilder::direction(uint8_t value) {
  connection(NFT_CT_DIRECTION);
  compare(&value, sizeof(value));
}

RuleBuilder& RuleBuilder::reply_direction() {
  direction(IP_CT_DIR_REPLY);
  return *this;
}

RuleBuilder& RuleBuilder::original_direction() {
  direction(IP_CT_DIR_ORIGINAL);
  return *this;
}

RuleBuilder& RuleBuilder::established_reply() {
  constexpr uint32_t kEstablishedOrRelated =
      NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED);  // nf_conntrack_common.h
  const uint32_t none = 0;
  direction(IP_CT_DIR_REPLY);
  connection(NFT_CT_STATE);
  mask(&kEstablishedOrRelated, sizeof(kEstablishedOrRelated));
  compare(&none, sizeof(none), true);
  return *this;
}

RuleBuilder& RuleBuilder::ipv4_option(uint8_t option) {
  family(addr::Family::kIpv4);
  nftnl_expr* expression = add("exthdr");
  nftnl_expr_set_u32(expression, NFTNL_EXPR_EXTHDR_DREG, kRegister);
  nftnl_expr_set_u8(expression, NFTNL_EXPR_EXTHDR_TYPE, option);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_EXTHDR_OFFSET, 0);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_EXTHDR_LEN, 1);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_EXTHDR_FLAGS, NFT_EXTHDR_F_PRESENT);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_EXTHDR_OP, NFT_EXTHDR_OP_IPV4);
  const uint8_t present = 1;
  compare(&present, sizeof(present));
  return *this;
}

void RuleBuilder::address(addr::Family family, uint32_t offset) {
  this->family(family);
  load(NFT_PAYLOAD_NETWORK_HEADER, offset, size_of(family));
}

void RuleBuilder::destination_and_port(addr::Family family) {
  address(family, destination_offset(family));
  load(NFT_PAYLOAD_TRANSPORT_HEADER, kDestinationPort, sizeof(uint16_t), register_behind(family));
}

RuleBuilder& RuleBuilder::source_and_destination_in(addr::Family family, const std::string& set) {
  address(family, source_offset(family));
  load(NFT_PAYLOAD_NETWORK_HEADER, destination_offset(family), size_of(family), register_behind(family));
  lookup(set, false);
  return *this;
}

RuleBuilder& RuleBuilder::destination_in(addr::Family family, const std::string& set) {
  address(family, destination_offset(family));
  lookup(set, false);
  return *this;
}

RuleBuilder& RuleBuilder::destination_port_in(addr::Family family, const std::string& set) {
  destination_and_port(family);
  lookup(set, false);
  return *this;
}

RuleBuilder& RuleBuilder::source_verdict(addr::Family family, const std::string& map) {
  address(family, source_offset(family));
  lookup(map, true);
  return *this;
}

RuleBuilder& RuleBuilder::destination_verdict(addr::Family family, const std::string& map) {
  address(family, destination_offset(family));
  lookup(map, true);
  return *this;
}

RuleBuilder& RuleBuilder::destination_port_verdict(addr::Family family, const std::string& map) {
  destination_and_port(family);
  lookup(map, true);
  return *this;
}

RuleBuilder& RuleBuilder::counter() {
  (void)add("counter");
  return *this;
}

RuleBuilder& RuleBuilder::limit(uint64_t per_second, uint32_t burst) {
  nftnl_expr* expression = add("limit");
  nftnl_expr_set_u64(expression, NFTNL_EXPR_LIMIT_RATE, per_second);
  nftnl_expr_set_u64(expression, NFTNL_EXPR_LIMIT_UNIT, kLimitUnitSeconds);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_LIMIT_BURST, burst);
  nftnl_expr_set_u32(expression, NFTNL_EXPR_LIMIT_TYPE, NFT_LIMIT_PKTS);
  return *this;
}

RuleBuilder& RuleBuilder::log(uint16_t group, const std::string& prefix) {
  nftnl_expr* expression = add("log");
  nftnl_expr_set_u16(expression, NFTNL_EXPR_LOG_GROUP, group);
  if (!prefix.empty()) nftnl_expr_set_str(expression, NFTNL_EXPR_LOG_PREFIX, prefix.c_str());
  return *this;
}

RuleBuilder& RuleBuilder::accept() {
  verdict(NF_ACCEPT, {});
  return *this;
}

RuleBuilder& RuleBuilder::drop() {
  verdict(NF_DROP, {});
  return *this;
}

RuleBuilder& RuleBuilder::jump(const std::string& chain) {
  verdict(NFT_JUMP, chain);
  return *this;
}

RuleBuilder& RuleBuilder::go_to(const std::string& chain) {
  verdict(NFT_GOTO, chain);
  return *this;
}

RuleBuilder& RuleBuilder::comment(const std::string& text) {
  const UserDataPtr data(nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN));
  nftnl_udata_put_strz(data.get(), NFTNL_UDATA_RULE_COMMENT, text.c_str());
  nftnl_rule_set_data(rule_.get(), NFTNL_RULE_USERDATA, nftnl_udata_buf_data(data.get()),
                      nftnl_udata_buf_len(data.get()));
  return *this;
}

std::string RuleBuilder::text() const { return expressions_text(rule_.get()); }

void RuleBuilder::put(MessageBuffer& out) const {
  nftnl_rule_nlmsg_build_payload(out.open(NFT_MSG_NEWRULE, place_.family, NLM_F_CREATE | NLM_F_APPEND), rule_.get());
  (void)out.close();
}

StandingRuleText read_rule_text(const nlmsghdr* message) {
  const RulePtr rule(nftnl_rule_alloc());
  if (nftnl_rule_nlmsg_parse(message, rule.get()) < 0) return {};
  const auto text_of = [&](uint16_t attribute) {
    const char* text = nftnl_rule_get_str(rule.get(), attribute);
    return text == nullptr ? std::string() : std::string(text);
  };
  return {.table = text_of(NFTNL_RULE_TABLE), .chain = text_of(NFTNL_RULE_CHAIN), .text = expressions_text(rule.get())};
}

}  // namespace slicer::netfilter
