#pragma once
// Drop and allow lists: what a VM may open connections to. Pure values: text in, disjoint intervals out.
//
// Of all entries that match a packet the most specific one decides: one with ports before one without; then the one
// with fewer addresses; then the one with fewer ports; then drop. Entries with ports match TCP and UDP; everything else
// (ICMP, SCTP, …) is decided by the entries without.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/addr/ip.h"

namespace slicer::netfilter {

enum class PolicyVerdict : uint8_t { kDrop, kAllow };

/// Destination ports, inclusive.
struct PortRange {
  uint16_t first = 0;
  uint16_t last = 0;
  friend bool operator==(const PortRange&, const PortRange&) = default;
};

/// One entry of a list.
struct PolicyEntry {
  addr::IpRange addresses = {};
  std::optional<PortRange> ports = {};
  friend bool operator==(const PolicyEntry&, const PolicyEntry&) = default;
};

/// Reads "192.0.2.0/24", "192.0.2.7", "192.0.2.7-192.0.2.9", "2001:db8::/32" and the like; each may have ":port" or
/// ":port-port" behind it, IPv6 then in brackets: "[2001:db8::7]:443", "[2001:db8::/64]:80-90".
/// Errors: kInvalidConfig with the entry (empty, a host name, host bits set in a prefix, port 0 or above 65535).
Result<PolicyEntry> parse_policy_entry(std::string_view text);
/// The entry in that form again; a range that is a whole prefix is written as one.
std::string policy_entry_text(const PolicyEntry& entry);

/// The lists of one network or one VM.
struct Policy {
  std::vector<PolicyEntry> drop = {};
  std::vector<PolicyEntry> allow = {};
  /// What decides about a destination that matches nothing. Absent: drop when there is only an allow list, else allow.
  std::optional<PolicyVerdict> fallback = {};
  friend bool operator==(const Policy&, const Policy&) = default;
};

/// Addresses of one verdict.
struct AddressVerdict {
  addr::IpRange addresses = {};
  PolicyVerdict verdict = PolicyVerdict::kDrop;
  friend bool operator==(const AddressVerdict&, const AddressVerdict&) = default;
};

/// Addresses and TCP or UDP ports of one verdict.
struct PortVerdict {
  addr::IpRange addresses = {};
  PortRange ports = {};
  PolicyVerdict verdict = PolicyVerdict::kDrop;
  friend bool operator==(const PortVerdict&, const PortVerdict&) = default;
};

/// A policy as a packet filter wants it: look TCP and UDP up in `ports`, then everything in `addresses`, then take
/// `fallback`. In each list nothing overlaps, and order is by family and address.
struct CompiledPolicy {
  std::vector<PortVerdict> ports = {};
  std::vector<AddressVerdict> addresses = {};
  PolicyVerdict fallback = PolicyVerdict::kAllow;
  friend bool operator==(const CompiledPolicy&, const CompiledPolicy&) = default;

  /// The verdict on one packet; `port` is absent for other protocols than TCP and UDP. For tests and `vm firewall`.
  [[nodiscard]] PolicyVerdict verdict_on(const addr::Ip& ip, std::optional<uint16_t> port) const;
  /// Whether some packet to an address of `subnet` is dropped: then ports of that subnet's bridge must be isolated.
  [[nodiscard]] bool may_drop_within(const addr::Cidr& subnet) const;
  /// Whether nothing is dropped at all.
  [[nodiscard]] bool allows_everything() const;
};

/// Compiles a policy. `closed` are ranges that stay shut whatever the lists say (an isolated VM's host,
/// 169.254.0.0/16), but for an entry that names exactly one address of them, with ports or without. IPv6 is never a way
/// around: 0.0.0.0/0 in `drop`, without any IPv6 entry in either list, drops ::/0 too. Cost: O(n log n) for entries
/// without ports; with ports, besides, as many steps as the entries' ports are cut into pieces by others. The same
/// policy has one compiled form, whatever its entries were.
CompiledPolicy compile_policy(const Policy& policy, std::span<const addr::IpRange> closed = {});

/// Pieces that do not overlap, in the form and order in which compile_policy() has them.
std::vector<PortVerdict> join_pieces(std::span<const PortVerdict> pieces);

/// The pieces of one family (which do not overlap) cut so that any two of them have the same addresses or none in
/// common, in order: for filters that look addresses up first, then ports. Up to pieces × stretches.
std::vector<PortVerdict> cut_to_stretches(std::span<const PortVerdict> pieces, addr::Family family);

}  // namespace slicer::netfilter
