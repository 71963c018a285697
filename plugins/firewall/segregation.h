#pragma once
// A bridge whose VMs reach each other through the host alone, where the packet filter sees them: every port isolated,
// the host answering ARP and neighbour solicitations for all (docs/slicer-firewall.md, "VM to VM").

#include <vector>

#include "lib/addr/ip.h"
#include "lib/net/netlink.h"
#include "lib/netfilter/policy.h"
#include "plugins/firewall/host_side.h"

namespace slicer::firewall {

/// Whether a policy can close something that would not pass the host by itself: an address of the bridge's subnets, a
/// link-local or a multicast one.
bool needs_segregation(const netfilter::CompiledPolicy& policy, const std::vector<addr::Cidr>& subnets);

/// Whether the bridge has been segregated, wholly. Two reads of /proc (of a VLAN's gateway two more).
Result<bool> is_segregated(const HostSide& side);
/// Whether somebody has begun to: its ports are isolated.
Result<bool> is_marked(const HostSide& side);

/// What one attachment needs.
struct SegregationSpec {
  HostSide side = {};
  std::vector<addr::Ip> guests = {};  ///< its addresses
};

/// Its IPv6 addresses that have no proxy entry: what an ADD that fails takes back.
Result<std::vector<addr::Ip>> without_proxy(net::RouteSocket& host, const SegregationSpec& spec);

/// Segregates the bridge, once: its proxy_arp_pvlan becomes 1, by which slicer-bridge knows that later ports are to be
/// isolated; then the ports that are there. Then the attachment: its ports isolated, a proxy entry for each IPv6
/// address. It stays until the bridge goes.
Result<void> ensure_segregated(net::RouteSocket& host, const SegregationSpec& spec);

/// CHECK. Error: kMismatch.
Result<void> check_segregated(net::RouteSocket& host, const SegregationSpec& spec);

/// DEL: the attachment's proxy entries; absent is success.
Result<void> remove_proxies(net::RouteSocket& host, const HostSide& side, const std::vector<addr::Ip>& guests);

}  // namespace slicer::firewall
