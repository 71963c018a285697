#pragma once
// Rules of our own tables that say more than ruleset.h's plain ones, one expression after the other. Private to
// the nftables files.

#include <cstdint>
#include <string>

#include "lib/addr/ip.h"
#include "lib/netfilter/nftables/codec.h"
#include "lib/netfilter/nftables/handles.h"

namespace slicer::netfilter {

/// Types of destinations as the routing table has them (linux/rtnetlink.h: RTN_*).
enum class AddressType : uint32_t { kLocal = 2, kBroadcast = 3, kMulticast = 5 };

/// Inclusive.
struct TypeRange {
  uint8_t first = 0;
  uint8_t last = 0;
};

/// Matches come first, a verdict last. A match of one family asks for that family by itself.
class RuleBuilder {
 public:
  explicit RuleBuilder(ChainPlace place);

  RuleBuilder& input(const std::string& name, bool negate = false);
  RuleBuilder& output(const std::string& name, bool negate = false);
  /// Names that begin with `prefix`.
  RuleBuilder& input_prefix(const std::string& prefix);
  RuleBuilder& output_prefix(const std::string& prefix);
  /// Names in a set of type ifname.
  RuleBuilder& input_in(const std::string& set);
  RuleBuilder& output_in(const std::string& set);
  RuleBuilder& source(const addr::Cidr& prefix, bool negate = false);
  RuleBuilder& destination(const addr::Cidr& prefix, bool negate = false);
  RuleBuilder& family(addr::Family family);
  /// Of any family but this one.
  RuleBuilder& not_family(addr::Family family);
  /// ETH_P_*; the first match of a rule.
  RuleBuilder& ethertype(uint16_t type, bool negate = false);
  RuleBuilder& l4_protocol(uint8_t protocol, bool negate = false);
  /// TCP whose flags under `mask` are (not) `value` (RFC 9293, section 3.1).
  RuleBuilder& tcp_flags(uint8_t mask, uint8_t value, bool negate = false);
  /// An IPv4 header with options.
  RuleBuilder& long_ipv4_header();
  /// A fragment that is not the first one: it has no header of the protocol it names.
  RuleBuilder& later_fragment(addr::Family family);
  /// An IPv4 fragment that begins so many units of eight bytes into its packet.
  RuleBuilder& fragment_at(uint16_t units);
  RuleBuilder& icmp_type(uint8_t type);
  RuleBuilder& icmpv6_type(TypeRange types);
  /// Addresses in sets of one family.
  RuleBuilder& source_and_destination_in(addr::Family family, const std::string& set);
  RuleBuilder& destination_in(addr::Family family, const std::string& set);
  /// With the port of TCP or UDP (the protocol must have been matched).
  RuleBuilder& destination_port_in(addr::Family family, const std::string& set);
  /// UDP from one port to another.
  RuleBuilder& udp(uint16_t from, uint16_t to);
  RuleBuilder& destination_type(AddressType type);
  /// What its source address sends does not come by this link: the host would answer by another one, or not at all.
  /// Before the routing decision only.
  RuleBuilder& source_elsewhere();
  /// Packets of a connection against the direction in which it was opened, related ones (ICMP errors) among them.
  RuleBuilder& reply_direction();
  RuleBuilder& original_direction();
  /// Against the direction of a connection that is established, or related to one.
  RuleBuilder& established_reply();
  /// An IPv4 packet with the option (RFC 791: 131, 137).
  RuleBuilder& ipv4_option(uint8_t option);

  /// Looks the packet's address up in a map of verdicts; no entry goes on to the next rule.
  RuleBuilder& source_verdict(addr::Family family, const std::string& map);
  RuleBuilder& destination_verdict(addr::Family family, const std::string& map);
  /// Address and port of TCP or UDP (the protocol must have been matched).
  RuleBuilder& destination_port_verdict(addr::Family family, const std::string& map);

  RuleBuilder& counter();
  RuleBuilder& limit(uint64_t per_second, uint32_t burst);
  /// To an NFLOG group; the prefix holds at most 127 bytes.
  RuleBuilder& log(uint16_t group, const std::string& prefix);
  RuleBuilder& accept();
  RuleBuilder& drop();
  RuleBuilder& jump(const std::string& chain);
  RuleBuilder& go_to(const std::string& chain);
  RuleBuilder& comment(const std::string& text);

  [[nodiscard]] const std::string& chain() const { return place_.chain; }
  /// As the kernel lists it, without counts: equal texts are equal rules.
  [[nodiscard]] std::string text() const;
  /// Appends the rule to its chain.
  void put(MessageBuffer& out) const;

 private:
  nftnl_expr* add(const char* name);
  void meta(uint32_t key);
  void load(uint32_t base, uint32_t offset, uint32_t size, uint32_t into = 0);
  void compare(const void* data, size_t size, bool negate = false);
  void mask(const void* bits, size_t size);
  void masked(const addr::Cidr& prefix, uint32_t offset, bool negate);
  void lookup(const std::string& set, bool verdict);
  void address(addr::Family family, uint32_t offset);
  void destination_and_port(addr::Family family);
  void connection(uint32_t key);
  void direction(uint8_t value);
  void verdict(int code, const std::string& chain);

  ChainPlace place_;
  RulePtr rule_;
  bool family_said_ = false;
};

/// A rule that stands, as far as comparisons need it.
struct StandingRuleText {
  std::string table = {};
  std::string chain = {};
  std::string text = {};  ///< as RuleBuilder::text()
};
StandingRuleText read_rule_text(const nlmsghdr* message);

}  // namespace slicer::netfilter
