#pragma once
// Which rules are whose: upstream's names and comments. Pure. Private to lib/netfilter.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lib/netfilter/ruleset.h"
#include "lib/netfilter/upstream.h"

namespace slicer::netfilter {

inline constexpr const char* kUpstreamForward = "CNI-FORWARD";
inline constexpr const char* kUpstreamMasqueradeTable = "cni_plugins_masquerade";
inline constexpr const char* kUpstreamMasqueradeChain = "masq_checks";

// Source of the names: containernetworking/plugins v1.9.1, pkg/utils/utils.go, pkg/ip/ipmasq_*_linux.go,
// pkg/link/spoofcheck.go.

/// The chain of a container's masquerade.
std::string upstream_chain(const std::string& network, const std::string& container_id);
/// The comment of its rules: `name: "NETWORK" id: "CONTAINER"`.
std::string upstream_comment(const std::string& network, const std::string& container_id);
/// What the comments of a network's rules in masq_checks begin with, and those of one attachment.
std::string upstream_network_hash(const std::string& network);
std::string upstream_instance(const std::string& network, const UpstreamAttachment& attachment);
/// The chain of an attachment's macspoofchk; the one behind it has "-mac" at its end.
std::string upstream_spoof_chain(const UpstreamAttachment& attachment);

/// What is to go, of rules as they were read.
struct UpstreamJudge {
  const UpstreamOwners& owners;
  std::vector<addr::Ip> addresses = {};

  /// POSTROUTING's jump into a chain of masquerade.
  [[nodiscard]] bool leads_to_masquerade(const Rule& rule) const;
  /// By its comment: a rule of masq_checks.
  [[nodiscard]] bool masquerades(const std::string& comment) const;
  /// A rule of CNI-FORWARD.
  [[nodiscard]] bool opens(const Rule& rule) const;
};

/// Is a conntrack match of iptables (its revision and private bytes) exactly `--ctstate RELATED,ESTABLISHED`?
bool is_match_of_replies(uint8_t revision, std::span<const uint8_t> info);

}  // namespace slicer::netfilter
