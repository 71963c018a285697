#include "lib/netfilter/iptables/rule.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/filter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter/xt_NFLOG.h>
#include <linux/netfilter/xt_addrtype.h>
#include <linux/netfilter/xt_bpf.h>
#include <linux/netfilter/xt_comment.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_devgroup.h>
#include <linux/netfilter/xt_iprange.h>
#include <linux/netfilter/xt_limit.h>
#include <linux/netfilter/xt_rpfilter.h>
#include <linux/netfilter/xt_tcpudp.h>

#include <algorithm>
#include <cstring>
#include <span>

namespace slicer::netfilter {
namespace {

// The kernel's revisions of the modules that are used here; each is in every kernel since 4.10.
constexpr uint8_t kConntrackRevision = 3;
constexpr uint8_t kAddressTypeRevision = 1;
constexpr uint8_t kRangeRevision = 1;
constexpr uint8_t kBpfRevision = 1;  // since 4.10; iptables does not list the older one

/// A module's private bytes: `T`, padded as XT_ALIGN() does.
template <class T>
IptModule module_of(const char* name, uint8_t revision, const T& info) {
  IptModule module{.name = name, .revision = revision, .data = std::vector<uint8_t>(XT_ALIGN(sizeof(T)))};
  std::memcpy(module.data.data(), &info, sizeof(T));
  return module;
}

template <class T>
std::optional<T> info_of(const IptModule& module) {
  if (module.data.size() < sizeof(T)) return std::nullopt;
  T info;
  std::memcpy(&info, module.data.data(), sizeof(T));
  return info;
}

void put_address(nf_inet_addr& out, const addr::Ip& ip) {
  const auto bytes = ip.bytes();
  std::memcpy(&out, bytes.data(), ip.size());
}

addr::Ip take_address(const nf_inet_addr& in, addr::Family family) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&in);
  return addr::Ip::from_bytes({bytes, addr::bits_of(family) / 8});
}

std::optional<addr::Cidr> as_prefix(const addr::IpRange& range) {
  const addr::Uint128 span = range.last.value() - range.first.value();
  if ((span & (span + 1)) != 0 || (range.first.value() & span) != 0) return std::nullopt;
  unsigned host_bits = 0;
  while (host_bits < addr::bits_of(range.family()) && (span >> host_bits) != 0) ++host_bits;
  return addr::Cidr{.ip = range.first, .prefix = addr::bits_of(range.family()) - host_bits};
}

IptModule source_range_match(const addr::IpRange& range) {
  xt_iprange_mtinfo info{};
  put_address(info.src_min, range.first);
  put_address(info.src_max, range.last);
  info.flags = IPRANGE_SRC;
  return module_of("iprange", kRangeRevision, info);
}

IptModule range_match(const addr::IpRange& range, bool negate) {
  xt_iprange_mtinfo info{};
  put_address(info.dst_min, range.first);
  put_address(info.dst_max, range.last);
  info.flags = static_cast<__u8>(IPRANGE_DST | (negate ? IPRANGE_DST_INV : 0));
  return module_of("iprange", kRangeRevision, info);
}

IptModule bpf_match(std::span<const sock_filter> program) {
  xt_bpf_info_v1 info{};
  info.mode = XT_BPF_MODE_BYTECODE;
  info.bpf_program_num_elem = static_cast<__u16>(program.size());
  info.fd = -1;
  std::ranges::copy(program, info.bpf_program);
  return module_of("bpf", kBpfRevision, info);
}

const IptModule* find_match(const IptRule& rule, const char* name) {
  const auto found = std::ranges::find(rule.matches, name, &IptModule::name);
  return found == rule.matches.end() ? nullptr : &*found;
}

std::string text_of(const char* option, const IptInterface& interface) {
  return fmt::format("{}{} {}{} ", interface.negate ? "! " : "", option, interface.name, interface.begins ? "+" : "");
}

std::string text_of(const char* option, const IptPrefix& prefix) {
  return fmt::format("{}{} {} ", prefix.negate ? "! " : "", option, prefix.cidr.text());
}

}  // namespace

IptRule& IptRule::in(const std::string& name, bool negate, bool begins) {
  input = IptInterface{.name = name, .begins = begins, .negate = negate};
  return *this;
}

IptRule& IptRule::out(const std::string& name, bool negate, bool begins) {
  output = IptInterface{.name = name, .begins = begins, .negate = negate};
  return *this;
}

IptRule& IptRule::in_group(uint32_t group) {
  xt_devgroup_info info{};
  info.flags = XT_DEVGROUP_MATCH_SRC;
  info.src_group = group;
  info.src_mask = UINT32_MAX;
  matches.push_back(module_of("devgroup", 0, info));
  return *this;
}

IptRule& IptRule::from(const addr::Cidr& prefix, bool negate) {
  source = IptPrefix{.cidr = prefix.network(), .negate = negate};
  return *this;
}

IptRule& IptRule::to(const addr::Cidr& prefix, bool negate) {
  destination = IptPrefix{.cidr = prefix.network(), .negate = negate};
  return *this;
}

IptRule& IptRule::to_range(const addr::IpRange& range) {
  if (const auto prefix = as_prefix(range)) {
    if (prefix->prefix != 0) destination = IptPrefix{.cidr = *prefix};
  } else {
    matches.push_back(range_match(range, false));
  }
  return *this;
}

IptRule& IptRule::from_range(const addr::IpRange& range) {
  if (const auto prefix = as_prefix(range)) {
    if (prefix->prefix != 0) source = IptPrefix{.cidr = *prefix};
  } else {
    matches.push_back(source_range_match(range));
  }
  return *this;
}

IptRule& IptRule::not_to_range(const addr::IpRange& range) {
  matches.push_back(range_match(range, true));
  return *this;
}

// net/netfilter/xt_conntrack.c, conntrack_mt(): without inversion the flag means the original direction.
IptRule& IptRule::reply_direction() {
  xt_conntrack_mtinfo3 info{};
  info.match_flags = XT_CONNTRACK_DIRECTION;
  info.invert_flags = XT_CONNTRACK_DIRECTION;
  matches.push_back(module_of("conntrack", kConntrackRevision, info));
  return *this;
}

IptRule& IptRule::destination_type(IptAddressType type) {
  xt_addrtype_info_v1 info{};
  info.dest = static_cast<__u16>(1U << static_cast<unsigned>(type));
  matches.push_back(module_of("addrtype", kAddressTypeRevision, info));
  return *this;
}

IptRule& IptRule::source_elsewhere() {
  xt_rpfilter_info info{};
  info.flags = XT_RPFILTER_INVERT;
  matches.push_back(module_of("rpfilter", 0, info));
  return *this;
}

IptRule& IptRule::ports(uint8_t ip_protocol, const PortRange& range) {
  protocol = ip_protocol;
  if (ip_protocol == IPPROTO_TCP) {
    xt_tcp info{};
    info.spts[1] = 0xffff;
    info.dpts[0] = range.first;
    info.dpts[1] = range.last;
    matches.push_back(module_of("tcp", 0, info));
  } else {
    xt_udp info{};
    info.spts[1] = 0xffff;
    info.dpts[0] = range.first;
    info.dpts[1] = range.last;
    matches.push_back(module_of("udp", 0, info));
  }
  return *this;
}

IptRule& IptRule::udp(uint16_t from_port, uint16_t to_port) {
  protocol = IPPROTO_UDP;
  xt_udp info{};
  info.spts[0] = info.spts[1] = from_port;
  info.dpts[0] = info.dpts[1] = to_port;
  matches.push_back(module_of("udp", 0, info));
  return *this;
}

// struct ipt_icmp and ip6t_icmp (linux/netfilter_ipv4/ip_tables.h, ipv6/ip6_tables.h) are the same four bytes: type,
// first and last code, flags.
IptRule& IptRule::icmp_type(uint8_t type) {
  const bool v4 = family == addr::Family::kIpv4;
  protocol = v4 ? uint8_t{IPPROTO_ICMP} : uint8_t{IPPROTO_ICMPV6};
  matches.push_back(module_of(v4 ? "icmp" : "icmp6", 0, std::array<uint8_t, 4>{type, 0, 0xff, 0}));
  return *this;
}

// iptables has no match for a frame's destination. Classic BPF reads it: negative offsets from SKF_LL_OFF count from
// the link layer's header (linux/filter.h).
IptRule& IptRule::frame_to(const addr::Mac& mac) {
  const auto word = [&](size_t i) {
    return static_cast<uint32_t>(mac.bytes.at(i)) << 24U | static_cast<uint32_t>(mac.bytes.at(i + 1)) << 16U |
           static_cast<uint32_t>(mac.bytes.at(i + 2)) << 8U | mac.bytes.at(i + 3);
  };
  const auto link_layer = [](int offset) { return static_cast<uint32_t>(SKF_LL_OFF + offset); };
  const std::array<sock_filter, 6> program{{
      {.code = BPF_LD | BPF_W | BPF_ABS, .jt = 0, .jf = 0, .k = link_layer(0)},
      {.code = BPF_JMP | BPF_JEQ | BPF_K, .jt = 0, .jf = 3, .k = word(0)},
      {.code = BPF_LD | BPF_W | BPF_ABS, .jt = 0, .jf = 0, .k = link_layer(2)},
      {.code = BPF_JMP | BPF_JEQ | BPF_K, .jt = 0, .jf = 1, .k = word(2)},
      {.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = 1},
      {.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = 0},
  }};
  matches.push_back(bpf_match(program));
  return *this;
}

// Nor for the length of the header: "ipv4options" is not in the kernel. Offset 0 is the IP header's (net/netfilter/
// xt_bpf.c runs on the packet as the hook has it); RFC 791, section 3.1: the lower four bits count words.
IptRule& IptRule::ipv4_options() {
  constexpr uint32_t kPlainWords = 5;
  const std::array<sock_filter, 5> program{{
      {.code = BPF_LD | BPF_B | BPF_ABS, .jt = 0, .jf = 0, .k = 0},
      {.code = BPF_ALU | BPF_AND | BPF_K, .jt = 0, .jf = 0, .k = 0x0f},
      {.code = BPF_JMP | BPF_JGT | BPF_K, .jt = 0, .jf = 1, .k = kPlainWords},
      {.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = 1},
      {.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = 0},
  }};
  matches.push_back(bpf_match(program));
  return *this;
}

IptRule& IptRule::limit(uint32_t per_second, uint32_t burst) {
  xt_rateinfo info{};
  info.avg = XT_LIMIT_SCALE / per_second;
  info.burst = burst;
  matches.push_back(module_of("limit", 0, info));
  return *this;
}

IptRule& IptRule::says(const std::string& text) {
  xt_comment_info info{};
  text.copy(info.comment, sizeof(info.comment) - 1);
  matches.push_back(module_of("comment", 0, info));
  return *this;
}

IptRule& IptRule::jump(const std::string& chain) {
  target = chain;
  return *this;
}

IptRule& IptRule::go(const std::string& chain) {
  target = chain;
  go_to = true;
  return *this;
}

IptRule& IptRule::log(uint16_t group, const std::string& prefix) {
  xt_nflog_info info{};
  info.group = group;
  prefix.copy(info.prefix, sizeof(info.prefix) - 1);
  module = module_of("NFLOG", 0, info);
  return *this;
}

IptRule& IptRule::masquerade() {
  if (family == addr::Family::kIpv4) {
    nf_nat_ipv4_multi_range_compat range{};
    range.rangesize = 1;
    module = module_of("MASQUERADE", 0, range);
  } else {
    module = module_of("MASQUERADE", 0, nf_nat_range{});
  }
  return *this;
}

std::string IptRule::comment() const {
  const IptModule* match = find_match(*this, "comment");
  if (match == nullptr) return {};
  const auto end = std::ranges::find(match->data, uint8_t{0});
  return {match->data.begin(), end};
}

std::optional<addr::IpRange> IptRule::destination_range() const {
  if (destination) return addr::IpRange{.first = destination->cidr.first(), .last = destination->cidr.last()};
  const IptModule* match = find_match(*this, "iprange");
  if (match == nullptr) return std::nullopt;
  const auto info = info_of<xt_iprange_mtinfo>(*match);
  if (!info || info->flags != IPRANGE_DST) return std::nullopt;
  return addr::IpRange{.first = take_address(info->dst_min, family), .last = take_address(info->dst_max, family)};
}

std::optional<PortRange> IptRule::destination_ports() const {
  if (const IptModule* tcp = find_match(*this, "tcp"))
    if (const auto info = info_of<xt_tcp>(*tcp)) return PortRange{.first = info->dpts[0], .last = info->dpts[1]};
  if (const IptModule* udp = find_match(*this, "udp"))
    if (const auto info = info_of<xt_udp>(*udp)) return PortRange{.first = info->dpts[0], .last = info->dpts[1]};
  return std::nullopt;
}

std::string IptRule::text() const {
  std::string text;
  if (input) text += text_of("-i", *input);
  if (output) text += text_of("-o", *output);
  if (source) text += text_of("-s", *source);
  if (destination) text += text_of("-d", *destination);
  for (const IptModule& match : matches)
    if (match.name != "comment") text += fmt::format("-m {} … ", match.name);
  return text + (go_to ? "-g " : "-j ") + (module ? module->name : target);
}

}  // namespace slicer::netfilter
