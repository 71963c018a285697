#pragma once
// Where iptables-nft keeps FORWARD, and what it would take to get through. Private to the nftables files.

#include <string>
#include <vector>

#include "lib/netfilter/foreign.h"
#include "lib/netfilter/nftables/codec.h"

namespace slicer::netfilter {

/// One family's FORWARD of iptables-nft.
struct ForeignTarget {
  ChainPlace forward = {};
  ChainPlace user = {};  ///< DOCKER-USER, Docker's documented place for the administrator's rules
  std::vector<Rule> openings = {};
};

/// The families that the network has something of.
std::vector<ForeignTarget> foreign_targets(const std::string& network, const Forward& forward);

/// FORWARD and DOCKER-USER of both families.
std::vector<ChainPlace> foreign_places();

/// As find_foreign_firewalls(), of nf_tables, where iptables-nft has its rules too.
Result<std::vector<ForeignFirewall>> find_nft_firewalls();

/// "ip", "ip6", "inet"
const char* family_name(uint16_t family);

}  // namespace slicer::netfilter
