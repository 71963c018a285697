#pragma once
// The constant rules of a network as plain values: which chains, which rules, what they are called. No kernel, no
// library: a backend turns these into its own form, and what stands in the kernel is read back into them to compare.

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/addr/ip.h"

namespace slicer::netfilter {

/// What forwarding is opened for.
struct Forward {
  std::string bridge = {};               ///< host interface; empty: by subnet alone (a routed network: ptp)
  std::vector<addr::Cidr> subnets = {};  ///< host bits and order do not matter
};

/// All that one plugin wants to stand for a network. Rules accumulate: what an earlier call asked for (another range of
/// the pool, another plugin of the chain) stays until remove().
struct NetworkRules {
  std::string network = {};
  std::vector<addr::Cidr> masquerade = {};  ///< subnets whose traffic to elsewhere leaves under the host's address
  std::optional<Forward> forward = {};      ///< forwarding accepted, here and past a foreign FORWARD policy of DROP
  std::string listed_bridge = {};           ///< put into the set `bridges` of table `inet slicer`; empty: none
};

enum class Field : uint8_t { kInput, kOutput, kSource, kDestination };

/// One condition of a rule.
struct Match {
  Field field = Field::kInput;
  bool negate = false;
  std::string interface = {};  ///< kInput, kOutput: the name
  addr::Cidr prefix = {};      ///< kSource, kDestination: host bits are zero
  friend bool operator==(const Match&, const Match&) = default;
};

enum class Verdict : uint8_t { kAccept, kDrop, kMasquerade };

struct Rule {
  std::vector<Match> matches = {};
  Verdict verdict = Verdict::kAccept;
  std::string comment = {};
  bool counter = false;  ///< iptables prints packet counts of its rules; one without would not list in its form
  /// The same packets to the same end under the same mark; a counter does not matter.
  [[nodiscard]] bool same_as(const Rule& other) const {
    return matches == other.matches && verdict == other.verdict && comment == other.comment;
  }
};

enum class Hook : uint8_t { kForward, kPostroutingNat };

/// A base chain of table `inet slicer` that belongs to one network.
struct Chain {
  std::string name = {};
  Hook hook = Hook::kForward;
  std::string comment = {};
  std::vector<Rule> rules = {};
};

/// "slicer:NETWORK", the comment on all that is a network's, at most 127 bytes (nft's limit of a comment): a longer
/// name is cut and its hash appended behind '#', which no network's name contains.
std::string network_mark(const std::string& network);

/// "masquerade-NETWORK" or "forward-NETWORK"; long names are cut and hashed behind '/'.
std::string chain_name(Hook hook, const std::string& network);

/// The chains that stand for `rules` in our own table, in a fixed order; rules sorted, without duplicates.
std::vector<Chain> own_chains(const NetworkRules& rules);

/// The rules that let the network through another program's FORWARD chain of `family`; empty when it has nothing of
/// that family. In this form `iptables -S` lists, -C finds and -D deletes them.
std::vector<Rule> foreign_openings(const std::string& network, const Forward& forward, addr::Family family);

/// `iifname "slicer0" ip saddr 192.0.2.0/24 accept`, for messages.
std::string rule_text(const Rule& rule);

}  // namespace slicer::netfilter
