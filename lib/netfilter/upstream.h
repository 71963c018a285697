#pragma once
// What upstream's plugins (containernetworking/plugins) wrote for a container before ours took their place in the
// conflist: nobody else would remove it, for its name or comment tells it from others' by the container alone.
//
//   nat               POSTROUTING -> CNI-HASH            bridge's and ptp's ipMasq: a chain for each container
//   inet cni_plugins_masquerade   masq_checks            the same with "ipMasqBackend": "nftables": a rule
//   filter            CNI-FORWARD                        firewall: two rules for each address
//   bridge nat        PREROUTING -> cni-br-iface-ID-IF   bridge's macspoofchk: two chains for each container
//
// nat and filter in the form of iptables-nft and in the legacy tables.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lib/addr/ip.h"
#include "lib/base/result.h"

namespace slicer::netfilter {

struct UpstreamAttachment {
  std::string container_id = {};
  std::string ifname = {};
};

/// Whose it is that goes.
struct UpstreamOwners {
  std::string network = {};
  std::optional<UpstreamAttachment> only = {};  ///< DEL; absent: GC
  std::vector<UpstreamAttachment> valid = {};   ///< GC: all of the network but these
  /// The attachments' addresses. Asked only where something of upstream's stands.
  std::function<Result<std::vector<addr::Ip>>()> addresses = {};
};

/// All that the table above names. DEL of one attachment of a container that has several in the network takes the
/// masquerade of its addresses alone; GC leaves a container that has a valid one. Nothing of upstream's on the host:
/// one question to nf_tables, and two files of /proc. Errors: kBusy, kSystem; a kind of tables that is not there, or
/// cannot be read for want of libiptc, has nothing.
Result<void> remove_upstream_rules(const UpstreamOwners& owners);

/// What the firewall plugin wrote for these addresses, and nothing else; no addresses: nothing is asked.
Result<void> remove_upstream_openings(const std::vector<addr::Ip>& addresses);

}  // namespace slicer::netfilter
