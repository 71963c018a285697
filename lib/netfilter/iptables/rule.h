#pragma once
// One rule of the old iptables (x_tables) as a value, and its form in the kernel. No libiptc, no socket: pure. Private
// to the iptables files.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/addr/ip.h"
#include "lib/netfilter/policy.h"
#include "lib/netfilter/ruleset.h"

namespace slicer::netfilter {

/// A match or a target that is a module of the kernel's: its name, revision and private bytes (padded to 8).
struct IptModule {
  std::string name = {};
  uint8_t revision = 0;
  std::vector<uint8_t> data = {};
  friend bool operator==(const IptModule&, const IptModule&) = default;
};

struct IptInterface {
  std::string name = {};
  bool begins = false;  ///< only the beginning of the name
  bool negate = false;
  friend bool operator==(const IptInterface&, const IptInterface&) = default;
};

struct IptPrefix {
  addr::Cidr cidr = {};  ///< host bits are zero
  bool negate = false;
  friend bool operator==(const IptPrefix&, const IptPrefix&) = default;
};

/// Types of destinations as the routing table has them (linux/rtnetlink.h: RTN_*).
enum class IptAddressType : uint8_t { kLocal = 2, kBroadcast = 3, kMulticast = 5 };

struct IcmpTypes {
  uint8_t first = 0;
  uint8_t last = 0;
};

/// A rule without target only counts. Equal values are equal rules; counters are not part of them.
struct IptRule {
  addr::Family family = addr::Family::kIpv4;
  std::optional<IptInterface> input = {};
  std::optional<IptInterface> output = {};
  std::optional<IptPrefix> source = {};
  std::optional<IptPrefix> destination = {};
  uint8_t protocol = 0;
  std::vector<IptModule> matches = {};
  std::string target = {};  ///< ACCEPT, DROP, RETURN, a chain, or empty when `module` is the target
  bool go_to = false;       ///< to a chain without coming back behind this rule
  std::optional<IptModule> module = {};
  bool other = false;  ///< read back with conditions that none of ours has

  friend bool operator==(const IptRule&, const IptRule&) = default;

  IptRule& in(const std::string& name, bool negate = false, bool begins = false);
  IptRule& out(const std::string& name, bool negate = false, bool begins = false);
  /// By a link of this group (IFLA_GROUP).
  IptRule& in_group(uint32_t group);
  IptRule& from(const addr::Cidr& prefix, bool negate = false);
  IptRule& to(const addr::Cidr& prefix, bool negate = false);
  /// As a prefix when the range is one, else by the match iprange; the whole family matches without.
  IptRule& to_range(const addr::IpRange& range);
  IptRule& from_range(const addr::IpRange& range);
  IptRule& not_to_range(const addr::IpRange& range);
  IptRule& reply_direction();
  IptRule& destination_type(IptAddressType type);
  /// The host would not answer the source address by the link that the packet came in by. PREROUTING only.
  IptRule& source_elsewhere();
  /// TCP or UDP by destination ports.
  IptRule& ports(uint8_t ip_protocol, const PortRange& range);
  /// UDP from one port to another.
  IptRule& udp(uint16_t from_port, uint16_t to_port);
  IptRule& icmp_type(uint8_t type);
  IptRule& frame_to(const addr::Mac& mac);
  /// An IPv4 header of more than its 20 bytes.
  IptRule& ipv4_options();
  IptRule& limit(uint32_t per_second, uint32_t burst);
  IptRule& says(const std::string& text);
  IptRule& jump(const std::string& chain);
  IptRule& go(const std::string& chain);
  IptRule& log(uint16_t group, const std::string& prefix);
  IptRule& masquerade();

  /// Its comment, or empty.
  [[nodiscard]] std::string comment() const;
  /// Destination addresses as to_range() said them.
  [[nodiscard]] std::optional<addr::IpRange> destination_range() const;
  /// Destination ports as ports() said them.
  [[nodiscard]] std::optional<PortRange> destination_ports() const;
  /// `-i slicer0 -d 192.0.2.0/24 -j ACCEPT`, for messages; modules by name only.
  [[nodiscard]] std::string text() const;
};

/// The kernel's form: struct ipt_entry or ip6t_entry with matches and target, aligned as the kernel wants it. A jump
/// has the chain's name where libiptc looks for it.
std::vector<uint64_t> encode_rule(const IptRule& rule);

/// From a struct ipt_entry or ip6t_entry as read from the kernel; `target` is libiptc's word for where it leads.
IptRule decode_rule(addr::Family family, const void* entry, const std::string& target);

/// Packets that have met the rule.
uint64_t packets_of(addr::Family family, const void* entry);

}  // namespace slicer::netfilter
