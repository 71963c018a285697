#include "lib/netfilter/nftables/expr.h"

#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <net/if.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include "lib/netfilter/upstream_rules.h"

namespace slicer::netfilter {
namespace {

// Offsets of the addresses in their headers: RFC 791, section 3.1; RFC 8200, section 3.
constexpr uint32_t kIpv4Source = 12;
constexpr uint32_t kIpv4Destination = 16;
constexpr uint32_t kIpv6Source = 8;
constexpr uint32_t kIpv6Destination = 24;
constexpr size_t kMacSize = 6;

uint32_t address_offset(addr::Family family, Field field) {
  if (family == addr::Family::kIpv4) return field == Field::kSource ? kIpv4Source : kIpv4Destination;
  return field == Field::kSource ? kIpv6Source : kIpv6Destination;
}

/// Appends expressions to a rule; the rule owns them.
class Encoder {
 public:
  explicit Encoder(nftnl_rule* rule) : rule_(rule) {}

  void interface(const Match& match) {
    meta(match.field == Field::kInput ? NFT_META_IIFNAME : NFT_META_OIFNAME);
    // With the closing zero, as iptables writes it: a shorter comparison is its "name+", a prefix.
    compare(match.negate, match.interface.c_str(), match.interface.size() + (match.begins ? 0 : 1));
  }

  void input_group(uint32_t group) {
    meta(NFT_META_IIFGROUP);
    compare(false, &group, sizeof(group));
  }

  void protocol(addr::Family family) {
    const uint8_t value = family == addr::Family::kIpv4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
    meta(NFT_META_NFPROTO);
    compare(false, &value, sizeof(value));
  }

  // The whole address and a mask, never a shorter load: every release of iptables-nft reads that form.
  void prefix(const Match& match) {
    nftnl_expr* load = nftnl_expr_alloc("payload");
    nftnl_expr_set_u32(load, NFTNL_EXPR_PAYLOAD_DREG, NFT_REG_1);
    nftnl_expr_set_u32(load, NFTNL_EXPR_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER);
    nftnl_expr_set_u32(load, NFTNL_EXPR_PAYLOAD_OFFSET, address_offset(match.prefix.family(), match.field));
    const auto size = static_cast<uint32_t>(match.prefix.ip.size());
    nftnl_expr_set_u32(load, NFTNL_EXPR_PAYLOAD_LEN, size);
    nftnl_rule_add_expr(rule_, load);
    if (match.prefix.prefix < addr::bits_of(match.prefix.family())) mask(match.prefix.mask().bytes(), size);
    compare(match.negate, match.prefix.first().bytes().data(), size);
  }

  void frame_to(const Match& match) {
    const auto& bytes = match.mac.bytes;
    nftnl_expr* load = nftnl_expr_alloc("payload");
    nftnl_expr_set_u32(load, NFTNL_EXPR_PAYLOAD_DREG, NFT_REG_1);
    nftnl_expr_set_u32(load, NFTNL_EXPR_PAYLOAD_BASE, NFT_PAYLOAD_LL_HEADER);
    nftnl_expr_set_u32(load, NFTNL_EXPR_PAYLOAD_OFFSET, 0);
    nftnl_expr_set_u32(load, NFTNL_EXPR_PAYLOAD_LEN, static_cast<uint32_t>(bytes.size()));
    nftnl_rule_add_expr(rule_, load);
    compare(match.negate, bytes.data(), bytes.size());
  }

  void counter() { nftnl_rule_add_expr(rule_, nftnl_expr_alloc("counter")); }

  void go_to(const std::string& chain) {
    nftnl_expr* immediate = nftnl_expr_alloc("immediate");
    nftnl_expr_set_u32(immediate, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
    nftnl_expr_set_u32(immediate, NFTNL_EXPR_IMM_VERDICT, static_cast<uint32_t>(NFT_GOTO));
    nftnl_expr_set_str(immediate, NFTNL_EXPR_IMM_CHAIN, chain.c_str());
    nftnl_rule_add_expr(rule_, immediate);
  }

  void verdict(Verdict verdict) {
    if (verdict == Verdict::kMasquerade) return nftnl_rule_add_expr(rule_, nftnl_expr_alloc("masq"));
    nftnl_expr* immediate = nftnl_expr_alloc("immediate");
    nftnl_expr_set_u32(immediate, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
    nftnl_expr_set_u32(immediate, NFTNL_EXPR_IMM_VERDICT, verdict == Verdict::kAccept ? NF_ACCEPT : NF_DROP);
    nftnl_rule_add_expr(rule_, immediate);
  }

 private:
  void meta(uint32_t key) {
    nftnl_expr* load = nftnl_expr_alloc("meta");
    nftnl_expr_set_u32(load, NFTNL_EXPR_META_DREG, NFT_REG_1);
    nftnl_expr_set_u32(load, NFTNL_EXPR_META_KEY, key);
    nftnl_rule_add_expr(rule_, load);
  }

  void compare(bool negate, const void* data, size_t size) {
    nftnl_expr* expression = nftnl_expr_alloc("cmp");
    nftnl_expr_set_u32(expression, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
    nftnl_expr_set_u32(expression, NFTNL_EXPR_CMP_OP, negate ? NFT_CMP_NEQ : NFT_CMP_EQ);
    nftnl_expr_set(expression, NFTNL_EXPR_CMP_DATA, data, static_cast<uint32_t>(size));
    nftnl_rule_add_expr(rule_, expression);
  }

  void mask(const std::array<uint8_t, 16>& bits, uint32_t size) {
    const std::array<uint8_t, 16> zero{};
    nftnl_expr* expression = nftnl_expr_alloc("bitwise");
    nftnl_expr_set_u32(expression, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
    nftnl_expr_set_u32(expression, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
    nftnl_expr_set_u32(expression, NFTNL_EXPR_BITWISE_LEN, size);
    nftnl_expr_set(expression, NFTNL_EXPR_BITWISE_MASK, bits.data(), size);
    nftnl_expr_set(expression, NFTNL_EXPR_BITWISE_XOR, zero.data(), size);
    nftnl_rule_add_expr(rule_, expression);
  }

  nftnl_rule* rule_;
};

/// Follows one register through load, mask and comparison, and collects matches. Stops at the first expression that
/// none of our rules has.
class Decoder {
 public:
  DecodedRule decode(const nftnl_rule* rule) {
    nftnl_expr_iter* iterator = nftnl_expr_iter_create(rule);
    bool known = iterator != nullptr;
    while (known) {
      const nftnl_expr* expression = nftnl_expr_iter_next(iterator);
      if (expression == nullptr) break;
      known = take(expression);
    }
    if (iterator != nullptr) nftnl_expr_iter_destroy(iterator);
    if (known && ended_) decoded_.rule = std::move(rule_);
    return std::move(decoded_);
  }

 private:
  enum class Loaded { kNothing, kInterface, kProtocol, kLinkType, kGroup, kFrameTo, kAddress };

  bool take(const nftnl_expr* expression) {
    const std::string_view name = nftnl_expr_get_str(expression, NFTNL_EXPR_NAME);
    if (ended_) return false;
    if (name == "meta") return take_meta(expression);
    if (name == "payload") return take_payload(expression);
    if (name == "bitwise") return take_mask(expression);
    if (name == "cmp") return take_compare(expression);
    if (name == "counter") return rule_.counter = true;
    if (name == "match") return take_xt_match(expression);
    return take_verdict(expression, name);
  }

  bool take_meta(const nftnl_expr* expression) {
    switch (nftnl_expr_get_u32(expression, NFTNL_EXPR_META_KEY)) {
      case NFT_META_IIFNAME:
        field_ = Field::kInput;
        break;
      case NFT_META_OIFNAME:
        field_ = Field::kOutput;
        break;
      case NFT_META_NFPROTO:
        loaded_ = Loaded::kProtocol;
        return true;
      case NFT_META_IIFTYPE:
        loaded_ = Loaded::kLinkType;
        return true;
      case NFT_META_IIFGROUP:
        loaded_ = Loaded::kGroup;
        return true;
      default:
        return false;
    }
    loaded_ = Loaded::kInterface;
    return true;
  }

  bool take_payload(const nftnl_expr* expression) {
    if (nftnl_expr_get_u32(expression, NFTNL_EXPR_PAYLOAD_BASE) == NFT_PAYLOAD_LL_HEADER) {
      loaded_ = Loaded::kFrameTo;
      return nftnl_expr_get_u32(expression, NFTNL_EXPR_PAYLOAD_OFFSET) == 0 &&
             nftnl_expr_get_u32(expression, NFTNL_EXPR_PAYLOAD_LEN) == kMacSize;
    }
    if (nftnl_expr_get_u32(expression, NFTNL_EXPR_PAYLOAD_BASE) != NFT_PAYLOAD_NETWORK_HEADER) return false;
    offset_ = nftnl_expr_get_u32(expression, NFTNL_EXPR_PAYLOAD_OFFSET);
    size_ = nftnl_expr_get_u32(expression, NFTNL_EXPR_PAYLOAD_LEN);
    prefix_ = 8 * size_;  // iptables loads only the whole bytes of a prefix
    loaded_ = Loaded::kAddress;
    return size_ > 0 && size_ <= 16;
  }

  bool take_mask(const nftnl_expr* expression) {
    uint32_t size = 0;
    const void* data = nftnl_expr_get(expression, NFTNL_EXPR_BITWISE_MASK, &size);
    if (loaded_ != Loaded::kAddress || data == nullptr || size != size_) return false;
    prefix_ = 0;
    bool ended = false;
    for (const uint8_t byte : std::span(static_cast<const uint8_t*>(data), size)) {
      const auto ones = static_cast<unsigned>(std::countl_one(byte));
      if (ended ? byte != 0 : static_cast<uint8_t>(byte << ones) != 0) return false;  // not a prefix
      prefix_ += ended ? 0 : ones;
      ended = ended || ones < 8;
    }
    return true;
  }

  bool take_compare(const nftnl_expr* expression) {
    const uint32_t op = nftnl_expr_get_u32(expression, NFTNL_EXPR_CMP_OP);
    if (op != NFT_CMP_EQ && op != NFT_CMP_NEQ) return false;
    uint32_t size = 0;
    const auto* data = static_cast<const uint8_t*>(nftnl_expr_get(expression, NFTNL_EXPR_CMP_DATA, &size));
    const Loaded loaded = std::exchange(loaded_, Loaded::kNothing);
    if (data == nullptr) return false;
    const std::span bytes(data, size);
    if (loaded == Loaded::kProtocol) return op == NFT_CMP_EQ;  // the address match behind it says the family again
    if (loaded == Loaded::kLinkType) return op == NFT_CMP_EQ;  // nft's own, before a match of the Ethernet header
    if (loaded == Loaded::kGroup) return add_group(bytes, op == NFT_CMP_NEQ);
    if (loaded == Loaded::kFrameTo) return add_mac(bytes, op == NFT_CMP_NEQ);
    if (loaded == Loaded::kInterface) return add_interface(bytes, op == NFT_CMP_NEQ);
    return loaded == Loaded::kAddress && add_prefix(bytes, op == NFT_CMP_NEQ);
  }

  bool add_interface(std::span<const uint8_t> bytes, bool negate) {
    const auto* text = reinterpret_cast<const char*>(bytes.data());
    const size_t length = strnlen(text, bytes.size());
    const bool begins = length == bytes.size() && length < IFNAMSIZ;
    rule_.matches.push_back(
        {.field = field_, .negate = negate, .interface = std::string(text, length), .begins = begins});
    return true;
  }

  bool add_group(std::span<const uint8_t> bytes, bool negate) {
    Match match{.field = Field::kInputGroup, .negate = negate};
    if (bytes.size() != sizeof(match.group)) return false;
    std::memcpy(&match.group, bytes.data(), sizeof(match.group));
    rule_.matches.push_back(std::move(match));
    return true;
  }

  bool add_mac(std::span<const uint8_t> bytes, bool negate) {
    if (bytes.size() != kMacSize) return false;
    std::array<uint8_t, kMacSize> mac{};
    std::ranges::copy(bytes, mac.begin());
    rule_.matches.push_back({.field = Field::kFrameTo, .negate = negate, .mac = {.bytes = mac}});
    return true;
  }

  bool add_prefix(std::span<const uint8_t> bytes, bool negate) {
    if (bytes.size() != size_) return false;
    for (const addr::Family family : {addr::Family::kIpv4, addr::Family::kIpv6}) {
      for (const Field field : {Field::kSource, Field::kDestination}) {
        if (address_offset(family, field) != offset_ || size_ > addr::bits_of(family) / 8) continue;
        std::array<uint8_t, 16> whole{};
        std::ranges::copy(bytes, whole.begin());
        const addr::Ip ip = addr::Ip::from_bytes(std::span(whole).first(addr::bits_of(family) / 8));
        rule_.matches.push_back({.field = field, .negate = negate, .prefix = {.ip = ip, .prefix = prefix_}});
        return true;
      }
    }
    return false;
  }

  /// A match of iptables' own.
  bool take_xt_match(const nftnl_expr* expression) {
    uint32_t size = 0;
    const void* info = nftnl_expr_get(expression, NFTNL_EXPR_MT_INFO, &size);
    const std::string_view name = nftnl_expr_get_str(expression, NFTNL_EXPR_MT_NAME);
    if (info == nullptr) return false;
    if (name == "conntrack") {
      rule_.matches.push_back({.field = Field::kReplies});
      return is_match_of_replies(static_cast<uint8_t>(nftnl_expr_get_u32(expression, NFTNL_EXPR_MT_REV)),
                                 {static_cast<const uint8_t*>(info), size});
    }
    if (name != "comment") return false;
    decoded_.xt_comment.assign(static_cast<const char*>(info), strnlen(static_cast<const char*>(info), size));
    return true;
  }

  bool take_verdict(const nftnl_expr* expression, std::string_view name) {
    ended_ = true;
    if (name == "masq") {
      rule_.verdict = Verdict::kMasquerade;
      return true;
    }
    if (name != "immediate" || !nftnl_expr_is_set(expression, NFTNL_EXPR_IMM_VERDICT)) return false;
    const uint32_t verdict = nftnl_expr_get_u32(expression, NFTNL_EXPR_IMM_VERDICT);
    const bool goes = static_cast<int>(verdict) == NFT_GOTO;
    if ((goes || static_cast<int>(verdict) == NFT_JUMP) && nftnl_expr_is_set(expression, NFTNL_EXPR_IMM_CHAIN)) {
      rule_.verdict = goes ? Verdict::kGoto : Verdict::kJump;
      rule_.target = nftnl_expr_get_str(expression, NFTNL_EXPR_IMM_CHAIN);
      return true;
    }
    rule_.verdict = verdict == NF_ACCEPT ? Verdict::kAccept : Verdict::kDrop;
    return verdict == NF_ACCEPT || verdict == NF_DROP;
  }

  Rule rule_ = {};
  DecodedRule decoded_ = {};
  Loaded loaded_ = Loaded::kNothing;
  Field field_ = Field::kInput;
  uint32_t offset_ = 0;
  uint32_t size_ = 0;
  uint32_t prefix_ = 0;
  bool ended_ = false;
};

}  // namespace

void encode_expressions(nftnl_rule* rule, const Rule& description, bool any_family) {
  Encoder encoder(rule);
  bool family_said = !any_family;
  for (const Match& match : description.matches) {
    if (match.field == Field::kFrameTo) {
      encoder.frame_to(match);
      continue;
    }
    if (match.field == Field::kInputGroup) {
      encoder.input_group(match.group);
      continue;
    }
    if (match.field == Field::kInput || match.field == Field::kOutput) {
      encoder.interface(match);
      continue;
    }
    if (!family_said) encoder.protocol(match.prefix.family());
    family_said = true;
    encoder.prefix(match);
  }
  if (description.counter) encoder.counter();
  if (description.verdict == Verdict::kGoto) return encoder.go_to(description.target);
  encoder.verdict(description.verdict);
}

DecodedRule decode_expressions(const nftnl_rule* rule) { return Decoder().decode(rule); }

}  // namespace slicer::netfilter
