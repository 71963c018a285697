// The anti-spoofing program of tc_guard.h. cls_bpf runs it with the Ethernet header at offset 0; a VLAN tag has been
// taken out of the frame by then (net/core/dev.c, __netif_receive_skb_core()). A load beyond the end of the frame ends
// a classic BPF program with 0, which is TC_ACT_OK: so each part first checks that the frame holds what it reads.

#include <array>
#include <optional>
#include <span>
#include <string>

#include "lib/addr/link_local.h"
#include "lib/net/bpf_assembler.h"
#include "lib/net/tc_guard.h"

namespace slicer::net {
namespace {

using Label = BpfAssembler::Label;

// Offsets in an untagged frame (IEEE 802.3, RFC 826, RFC 791, RFC 8200, RFC 4861).
constexpr uint32_t kSourceMac = 6;
constexpr uint32_t kEtherType = 12;
constexpr uint32_t kPayload = 14;
constexpr uint32_t kArpFormat = kPayload;  // hardware type, protocol type: 0001 0800
constexpr uint32_t kArpSizes = kPayload + 4;
constexpr uint32_t kArpOperation = kPayload + 6;
constexpr uint32_t kArpSenderMac = kPayload + 8;
constexpr uint32_t kArpSenderIp = kPayload + 14;
constexpr uint32_t kArpEnd = kPayload + 28;
constexpr uint32_t kIpv4Fragment = kPayload + 6;
constexpr uint32_t kIpv4Protocol = kPayload + 9;
constexpr uint32_t kIpv4Source = kPayload + 12;
constexpr uint32_t kIpv4End = kPayload + 20;
constexpr uint32_t kIpv6NextHeader = kPayload + 6;
constexpr uint32_t kIpv6Source = kPayload + 8;
constexpr uint32_t kIpv6End = kPayload + 40;
constexpr uint32_t kIcmpType = kIpv6End;
constexpr uint32_t kNdTarget = kIpv6End + 8;
constexpr uint32_t kNdOptions = kNdTarget + 16;

// IPv6 next headers.
constexpr uint32_t kHopByHop = 0, kUdp = 17, kRouting = 43, kFragment = 44, kAuthentication = 51, kIcmpv6 = 58,
                   kDestination = 60;
// ICMPv6 types: neighbour discovery is 133 to 137, of it 134 and 137 are a router's.
constexpr uint32_t kMldReport = 131, kMldDone = 132, kRouterSolicitation = 133, kRouterAdvertisement = 134,
                   kNeighbourSolicitation = 135, kNeighbourAdvertisement = 136, kRedirect = 137, kMld2Report = 143;

// RFC 2131, section 4.1; RFC 8415, section 7.2.
constexpr uint32_t kDhcpClient = 68, kDhcpServer = 67, kDhcp6Client = 546;

/// net/core/filter.c, BPF_MAXINSNS.
constexpr size_t kProgramMax = 4096;
/// A guest may stack so many extension headers; real traffic has two at most. Each costs program length, and the
/// kernel's compiler a part of every ADD.
constexpr int kExtensionHeadersMax = 2;

uint32_t word_of(std::span<const uint8_t> bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | uint32_t{bytes[3]};
}

class GuardBuilder {
 public:
  explicit GuardBuilder(const GuardSpec& spec)
      : spec_(spec), pass_(as_.make_label()), drop_(as_.make_label()), own_target_(as_.make_label()) {
    for (const addr::Ip& ip : spec.sources) (ip.is_v4() ? own_v4_ : own_v6_).push_back(ip);
    own_v6_.push_back(addr::link_local_of(spec.mac));
  }

  std::vector<BpfInstruction> build() {
    need(kPayload);
    check_mac(kSourceMac);
    if (!spec_.allow_vlan_tags) {
      as_.load_vlan_tag();
      as_.jump_unless_equal(0, drop_);
    }
    const Label arp = as_.make_label(), ipv4 = as_.make_label(), ipv6 = as_.make_label();
    as_.load_half(kEtherType);
    as_.jump_if_equal(0x0800, spec_.check_sources ? ipv4 : pass_);
    if (!spec_.ipv4_only) as_.jump_if_equal(0x86dd, spec_.check_sources ? ipv6 : pass_);
    as_.jump_if_equal(0x0806, spec_.check_sources ? arp : pass_);
    as_.jump(drop_);
    if (spec_.check_sources) {
      as_.place(ipv4), check_ipv4();
      as_.place(ipv6), check_ipv6();
      as_.place(arp), check_arp();
    }
    as_.place(pass_), as_.give(kGuardPass);
    as_.place(drop_), as_.give(kGuardDrop);
    return as_.finish();
  }

 private:
  void need(uint32_t length) {
    as_.load_length();
    as_.jump_if_below(length, drop_);
  }
  /// The frame goes on for `count` bytes behind X.
  void need_at_x(uint32_t count) {
    as_.load_length();
    as_.jump_if_below_x(drop_);
    as_.subtract_x();
    as_.jump_if_below(count, drop_);
  }
  void check_mac(uint32_t offset) {
    const auto& m = spec_.mac.bytes;
    as_.load_word(offset);
    as_.jump_unless_equal(word_of(m), drop_);
    as_.load_half(offset + 4);
    as_.jump_unless_equal(uint32_t{m[4]} << 8 | m[5], drop_);
  }
  /// The word in A is an IPv4 address of the guest: on to `to`.
  void jump_if_own_v4(Label to) {
    for (const addr::Ip& ip : own_v4_) as_.jump_if_equal(static_cast<uint32_t>(ip.value()), to);
  }
  void jump_if_v6(uint32_t offset, const addr::Ip& ip, Label to) {
    const Label other = as_.make_label();
    const auto bytes = ip.bytes();
    // The end first: that is where addresses of one network differ.
    for (uint32_t i = 4; i-- > 0;) {
      as_.load_word(offset + 4 * i);
      as_.jump_unless_equal(word_of(std::span(bytes).subspan(size_t{4} * i)), other);
    }
    as_.jump(to);
    as_.place(other);
  }
  void jump_if_own_v6(uint32_t offset, Label to) {
    for (const addr::Ip& ip : own_v6_) jump_if_v6(offset, ip, to);
  }

  void check_arp() {
    need(kArpEnd);
    as_.load_word(kArpFormat);
    as_.jump_unless_equal(0x00010800, drop_);
    as_.load_half(kArpSizes);
    as_.jump_unless_equal(0x0604, drop_);
    check_mac(kArpSenderMac);
    as_.load_word(kArpSenderIp);
    jump_if_own_v4(pass_);
    as_.jump_unless_equal(0, drop_);
    as_.load_half(kArpOperation);  // a probe (RFC 5227) is a request
    as_.jump_if_equal(1, pass_);
    as_.jump(drop_);
  }

  void check_ipv4() {
    const Label own = as_.make_label();
    need(kIpv4End);
    as_.load_word(kIpv4Source);
    jump_if_own_v4(own);
    as_.jump_unless_equal(0, drop_);
    // DHCP before there is an address (RFC 2131): UDP 68 to 67, whole.
    as_.load_byte(kIpv4Protocol);
    as_.jump_unless_equal(kUdp, drop_);
    as_.load_half(kIpv4Fragment);
    as_.jump_if_any_bit(0x3fff, drop_);
    as_.load_ip_header_length_x(kPayload);
    need_at_x(kPayload + 8);
    as_.load_half_at_x(kPayload);
    as_.jump_unless_equal(kDhcpClient, drop_);
    as_.load_half_at_x(kPayload + 2);
    as_.jump_if_equal(kDhcpServer, pass_);
    as_.jump(drop_);
    as_.place(own), check_own_ipv4();
  }

  /// From an address of the guest: everything but what a DHCP server says, who could give other machines a gateway and
  /// name servers of its choice. Clients look at the port to which it comes, few at the one that it comes from. (What
  /// is routed reaches no client.)
  void check_own_ipv4() {
    if (spec_.ipv4_only) return as_.jump(pass_);
    as_.load_byte(kIpv4Protocol);
    as_.jump_unless_equal(kUdp, pass_);
    as_.load_half(kIpv4Fragment);
    as_.jump_if_any_bit(0x1fff, pass_);  // the ports are in the first one
    as_.load_ip_header_length_x(kPayload);
    need_at_x(kPayload + 4);
    as_.load_half_at_x(kPayload + 2);
    as_.jump_if_equal(kDhcpClient, drop_);
    as_.jump(pass_);
  }

  void check_ipv6() {
    const Label own = as_.make_label(), unspecified = as_.make_label();
    need(kIpv6End);
    jump_if_own_v6(kIpv6Source, own);
    jump_if_v6(kIpv6Source, addr::Ip(addr::Family::kIpv6, 0), unspecified);
    as_.jump(drop_);
    as_.place(unspecified), check_unspecified();  // before the other, in which its jump ends
    as_.place(own), check_own_ipv6();
  }

  /// From an address of the guest: everything but neighbour discovery that speaks for another, and a DHCP server.
  void check_own_ipv6() {
    const Label icmp = as_.make_label();
    as_.load_byte(kIpv6NextHeader);
    as_.jump_if_equal(kIcmpv6, icmp);
    walk_extension_headers();
    as_.place(icmp);
    need(kIcmpType + 4);
    as_.load_byte(kIcmpType);
    const Label options = as_.make_label(), solicits = as_.make_label();
    as_.jump_if_equal(kRouterAdvertisement, drop_);
    as_.jump_if_equal(kRedirect, drop_);
    as_.jump_if_equal(kNeighbourAdvertisement, own_target_);
    as_.jump_if_equal(kNeighbourSolicitation, solicits);
    as_.jump(pass_);
    as_.place(solicits);
    need(kNdOptions);
    as_.jump(options);
    as_.place(own_target_);
    need(kNdOptions);
    jump_if_own_v6(kNdTarget, options);
    as_.jump(drop_);
    as_.place(options);
    check_first_option();
  }

  /// A link-layer address that the message tells of (RFC 4861, section 4.6.1) is the guest's.
  void check_first_option() {
    const Label present = as_.make_label();
    as_.load_length();
    as_.jump_if_below(kNdOptions + 8, pass_);  // none: a frame's padding or the end
    as_.load_half(kNdOptions);
    as_.jump_if_equal(0x0101, present);
    as_.jump_unless_equal(0x0201, pass_);
    as_.place(present);
    check_mac(kNdOptions + 2);
    as_.jump(pass_);
  }

  /// Behind extension headers no neighbour discovery passes (RFC 6980; nobody sends it so in good faith), and a DHCPv6
  /// server's datagrams nowhere. In: A = the first next header.
  void walk_extension_headers() {
    const Label udp = as_.make_label();
    as_.load_constant_x(kIpv6End);
    for (int i = 0; i < kExtensionHeadersMax; ++i) {
      const Label step = as_.make_label(), fragment = as_.make_label(), authentication = as_.make_label(),
                  next = as_.make_label();
      // A = the number of the header at X.
      if (i > 0) as_.jump_if_equal(kIcmpv6, hidden_icmp());
      as_.jump_if_equal(kUdp, udp);
      as_.jump_if_equal(kHopByHop, step);
      as_.jump_if_equal(kRouting, step);
      as_.jump_if_equal(kDestination, step);
      as_.jump_if_equal(kFragment, fragment);
      as_.jump_if_equal(kAuthentication, authentication);
      as_.jump(pass_);
      as_.place(step), skip_header(1, 8, next);
      as_.place(authentication), skip_header(2, 4, next);
      as_.place(fragment), skip_fragment();
      as_.place(next);
      as_.load_stored(0);
    }
    as_.jump_if_equal(kIcmpv6, hidden_icmp());
    as_.jump_if_equal(kUdp, udp);
    for (const uint32_t more : {kHopByHop, kRouting, kDestination, kFragment, kAuthentication})
      as_.jump_if_equal(more, drop_);
    as_.jump(pass_);
    place_hidden_icmp();
    as_.place(udp);
    need_at_x(4);
    as_.load_half_at_x(2);
    as_.jump_if_equal(kDhcp6Client, drop_);
    as_.jump(pass_);
  }
  /// X += (length byte + `extra`) * `unit`; M[0] = the next header.
  void skip_header(uint32_t extra, uint32_t unit, Label next) {
    need_at_x(8);
    as_.load_byte_at_x(0);
    as_.store(0);
    as_.load_byte_at_x(1);
    as_.add(extra);
    as_.multiply(unit);
    as_.add_x();
    as_.copy_to_x();
    as_.jump(next);
  }
  /// A later fragment means nothing without the first, which is looked at.
  void skip_fragment() {
    need_at_x(8);
    as_.load_byte_at_x(0);
    as_.store(0);
    as_.load_half_at_x(2);
    as_.jump_if_any_bit(0xfff8, pass_);
    as_.copy_from_x();
    as_.add(8);
    as_.copy_to_x();
  }
  Label hidden_icmp() {
    if (!hidden_icmp_) hidden_icmp_ = as_.make_label();
    return *hidden_icmp_;
  }
  void place_hidden_icmp() {
    as_.place(hidden_icmp());
    need_at_x(4);
    as_.load_byte_at_x(0);
    as_.jump_if_below(kRouterSolicitation, pass_);
    as_.jump_if_below(kRedirect + 1, drop_);
    as_.jump(pass_);
  }

  /// From `::`: duplicate address detection of an own address, router solicitation, and multicast listener reports,
  /// which carry a hop-by-hop header of eight bytes (RFC 3810, section 5).
  void check_unspecified() {
    const Label icmp = as_.make_label();
    as_.load_byte(kIpv6NextHeader);
    as_.jump_if_equal(kIcmpv6, icmp);
    as_.jump_unless_equal(kHopByHop, drop_);
    need(kIpv6End + 12);
    as_.load_half(kIpv6End);
    as_.jump_unless_equal(kIcmpv6 << 8, drop_);
    as_.load_byte(kIpv6End + 8);
    for (const uint32_t type : {kMldReport, kMldDone, kMld2Report}) as_.jump_if_equal(type, pass_);
    as_.jump(drop_);
    as_.place(icmp);
    need(kIcmpType + 8);
    as_.load_byte(kIcmpType);
    as_.jump_if_equal(kRouterSolicitation, pass_);
    as_.jump_unless_equal(kNeighbourSolicitation, drop_);
    as_.jump(own_target_);
  }

  const GuardSpec& spec_;
  std::vector<addr::Ip> own_v4_, own_v6_;
  BpfAssembler as_;
  Label pass_, drop_;
  Label own_target_;  ///< the check of a neighbour message's target
  std::optional<Label> hidden_icmp_;
};

}  // namespace

Result<std::vector<BpfInstruction>> build_guard(const GuardSpec& spec) {
  std::vector<BpfInstruction> program = GuardBuilder(spec).build();
  if (program.size() > kProgramMax)
    return fail(Kind::kInvalidConfig,
                "guard a link: " + std::to_string(spec.sources.size()) + " source addresses are too many",
                "a guest has up to about 100 addresses with anti-spoofing; or switch ipspoofchk off");
  return program;
}

}  // namespace slicer::net
