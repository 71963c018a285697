// Rules to and from the kernel's struct ipt_entry and ip6t_entry.
#include <arpa/inet.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "lib/netfilter/iptables/rule.h"

namespace slicer::netfilter {
namespace {

// What differs between the families, in one shape.
struct V4 {
  using Entry = ipt_entry;
  static auto& ip(Entry& entry) { return entry.ip; }
  static const auto& ip(const Entry& entry) { return entry.ip; }
  static constexpr uint8_t kGoto = IPT_F_GOTO;
  static constexpr uint8_t kProtocol = 0;
  static constexpr uint8_t kNotIn = IPT_INV_VIA_IN;
  static constexpr uint8_t kNotOut = IPT_INV_VIA_OUT;
  static constexpr uint8_t kNotSource = IPT_INV_SRCIP;
  static constexpr uint8_t kNotDestination = IPT_INV_DSTIP;
};

struct V6 {
  using Entry = ip6t_entry;
  static auto& ip(Entry& entry) { return entry.ipv6; }
  static const auto& ip(const Entry& entry) { return entry.ipv6; }
  static constexpr uint8_t kGoto = IP6T_F_GOTO;
  static constexpr uint8_t kProtocol = IP6T_F_PROTO;
  static constexpr uint8_t kNotIn = IP6T_INV_VIA_IN;
  static constexpr uint8_t kNotOut = IP6T_INV_VIA_OUT;
  static constexpr uint8_t kNotSource = IP6T_INV_SRCIP;
  static constexpr uint8_t kNotDestination = IP6T_INV_DSTIP;
};

template <class Address>
void put_ip(Address& out, const addr::Ip& ip) {
  const auto bytes = ip.bytes();
  std::memcpy(&out, bytes.data(), std::min(sizeof(out), ip.size()));
}

template <class Address>
addr::Ip take_ip(const Address& in) {
  return addr::Ip::from_bytes({reinterpret_cast<const uint8_t*>(&in), sizeof(in)});
}

/// The mask covers the closing zero of a whole name, and not that of a beginning (net/netfilter/x_tables.h:
/// ifname_compare_aligned()).
void put_interface(char* name, unsigned char* mask, const IptInterface& interface) {
  interface.name.copy(name, IFNAMSIZ - 1);
  const size_t covered = std::min<size_t>(interface.name.size() + (interface.begins ? 0 : 1), IFNAMSIZ);
  std::memset(mask, 0xff, covered);
}

std::optional<IptInterface> take_interface(const char* name, const unsigned char* mask, bool negate) {
  if (mask[0] == 0) return std::nullopt;
  const std::string text(name, strnlen(name, IFNAMSIZ - 1));
  return IptInterface{.name = text, .begins = mask[std::min<size_t>(text.size(), IFNAMSIZ - 1)] == 0, .negate = negate};
}

template <class Address>
std::optional<IptPrefix> take_prefix(const Address& address, const Address& mask, bool negate, bool& other) {
  const std::span bytes{reinterpret_cast<const uint8_t*>(&mask), sizeof(mask)};
  unsigned bits = 0;
  while (bits < bytes.size() * 8 && (bytes[bits / 8] & (0x80U >> (bits % 8))) != 0) ++bits;
  const addr::Cidr cidr{.ip = take_ip(address), .prefix = bits};
  if (take_ip(mask) != cidr.mask()) other = true;
  if (bits == 0 && !negate) return std::nullopt;
  return IptPrefix{.cidr = cidr, .negate = negate};
}

size_t size_of(const IptModule& match) { return XT_ALIGN(sizeof(xt_entry_match)) + match.data.size(); }

size_t target_size(const IptRule& rule) {
  if (rule.module) return XT_ALIGN(sizeof(xt_entry_target)) + rule.module->data.size();
  return XT_ALIGN(sizeof(xt_standard_target));
}

uint8_t* put_match(uint8_t* out, const IptModule& match) {
  auto* header = reinterpret_cast<xt_entry_match*>(out);
  header->u.user.match_size = static_cast<__u16>(size_of(match));
  header->u.user.revision = match.revision;
  match.name.copy(header->u.user.name, sizeof(header->u.user.name) - 1);
  std::ranges::copy(match.data, header->data);
  return out + size_of(match);
}

void put_target(uint8_t* out, const IptRule& rule) {
  auto* header = reinterpret_cast<xt_entry_target*>(out);
  header->u.user.target_size = static_cast<__u16>(target_size(rule));
  const std::string& name = rule.module ? rule.module->name : rule.target;
  name.copy(header->u.user.name, sizeof(header->u.user.name) - 1);
  if (!rule.module) return;
  header->u.user.revision = rule.module->revision;
  std::ranges::copy(rule.module->data, header->data);
}

template <class Version>
std::vector<uint64_t> encode(const IptRule& rule) {
  using Entry = typename Version::Entry;
  size_t offset = sizeof(Entry);
  for (const IptModule& match : rule.matches) offset += size_of(match);
  const size_t size = offset + target_size(rule);
  std::vector<uint64_t> buffer((size + 7) / 8);
  auto* bytes = reinterpret_cast<uint8_t*>(buffer.data());
  auto& entry = *reinterpret_cast<Entry*>(bytes);
  auto& ip = Version::ip(entry);
  if (rule.input) put_interface(ip.iniface, ip.iniface_mask, *rule.input);
  if (rule.output) put_interface(ip.outiface, ip.outiface_mask, *rule.output);
  if (rule.source) {
    put_ip(ip.src, rule.source->cidr.ip);
    put_ip(ip.smsk, rule.source->cidr.mask());
  }
  if (rule.destination) {
    put_ip(ip.dst, rule.destination->cidr.ip);
    put_ip(ip.dmsk, rule.destination->cidr.mask());
  }
  unsigned inverted = 0;
  if (rule.input && rule.input->negate) inverted |= Version::kNotIn;
  if (rule.output && rule.output->negate) inverted |= Version::kNotOut;
  if (rule.source && rule.source->negate) inverted |= Version::kNotSource;
  if (rule.destination && rule.destination->negate) inverted |= Version::kNotDestination;
  ip.invflags = static_cast<uint8_t>(inverted);
  ip.proto = rule.protocol;
  ip.flags = static_cast<uint8_t>((rule.go_to ? Version::kGoto : 0U) | (rule.protocol != 0 ? Version::kProtocol : 0U));
  uint8_t* next = bytes + sizeof(Entry);
  for (const IptModule& match : rule.matches) next = put_match(next, match);
  put_target(next, rule);
  entry.target_offset = static_cast<__u16>(offset);
  entry.next_offset = static_cast<__u16>(size);
  return buffer;
}

template <class Version>
IptRule decode(addr::Family family, const typename Version::Entry& entry, const std::string& target) {
  using Entry = typename Version::Entry;
  IptRule rule{.family = family};
  const auto& ip = Version::ip(entry);
  rule.input = take_interface(ip.iniface, ip.iniface_mask, (ip.invflags & Version::kNotIn) != 0);
  rule.output = take_interface(ip.outiface, ip.outiface_mask, (ip.invflags & Version::kNotOut) != 0);
  rule.source = take_prefix(ip.src, ip.smsk, (ip.invflags & Version::kNotSource) != 0, rule.other);
  rule.destination = take_prefix(ip.dst, ip.dmsk, (ip.invflags & Version::kNotDestination) != 0, rule.other);
  rule.protocol = static_cast<uint8_t>(ip.proto);
  rule.go_to = (ip.flags & Version::kGoto) != 0;
  const unsigned known_inversions = Version::kNotIn | Version::kNotOut | Version::kNotSource | Version::kNotDestination;
  const unsigned known_flags = Version::kGoto | Version::kProtocol;
  rule.other = rule.other || (ip.invflags & ~known_inversions) != 0 || (ip.flags & ~known_flags) != 0;
  const auto* bytes = reinterpret_cast<const uint8_t*>(&entry);
  for (size_t at = sizeof(Entry); at + sizeof(xt_entry_match) <= entry.target_offset;) {
    const auto* match = reinterpret_cast<const xt_entry_match*>(bytes + at);
    const size_t size = match->u.user.match_size;
    if (size < sizeof(xt_entry_match)) break;
    rule.matches.push_back({.name = match->u.user.name,
                            .revision = match->u.user.revision,
                            .data = {match->data, match->data + (size - sizeof(xt_entry_match))}});
    at += size;
  }
  const auto* tail = reinterpret_cast<const xt_entry_target*>(bytes + entry.target_offset);
  const size_t size = tail->u.user.target_size;
  // A verdict or a chain has no name of its own, a module has.
  if (std::string_view(tail->u.user.name).empty()) {
    rule.target = target;
  } else {
    rule.module = IptModule{.name = tail->u.user.name,
                            .revision = tail->u.user.revision,
                            .data = {tail->data, tail->data + (size - sizeof(xt_entry_target))}};
  }
  return rule;
}

}  // namespace

std::vector<uint64_t> encode_rule(const IptRule& rule) {
  return rule.family == addr::Family::kIpv4 ? encode<V4>(rule) : encode<V6>(rule);
}

IptRule decode_rule(addr::Family family, const void* entry, const std::string& target) {
  if (family == addr::Family::kIpv4) return decode<V4>(family, *static_cast<const ipt_entry*>(entry), target);
  return decode<V6>(family, *static_cast<const ip6t_entry*>(entry), target);
}

uint64_t packets_of(addr::Family family, const void* entry) {
  if (family == addr::Family::kIpv4) return static_cast<const ipt_entry*>(entry)->counters.pcnt;
  return static_cast<const ip6t_entry*>(entry)->counters.pcnt;
}

}  // namespace slicer::netfilter
