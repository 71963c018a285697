#pragma once
// The constant rules of a network as plain values: which chains, which rules, what they are called. No kernel, no
// library: a backend turns these into its own form, and what stands in the kernel is read back into them to compare.

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/addr/ip.h"
#include "lib/addr/mac.h"
#include "lib/netfilter/policy.h"

namespace slicer::netfilter {

/// The host's ends of isolated attachments are called so (cni::Attachment's role 's'); nothing else may be.
inline constexpr const char* kIsolatedLinks = "sls";

/// No other link's name begins so: docs/contract.md.
inline constexpr const char* kOwnLinks = "sl";

/// What forwarding is opened for.
struct Forward {
  std::string bridge = {};               ///< host interface; empty: by subnet alone (a routed network: ptp)
  bool any_link = false;                 ///< all links whose names begin with `bridge` (isolated networks)
  std::vector<addr::Cidr> subnets = {};  ///< host bits and order do not matter
  /// A routed network's links on the host are in this group (IFLA_GROUP): lists judge what comes in by them, whatever
  /// address it says to come from. 0: by subnet alone.
  uint32_t group = 0;
  /// The iptables backend asks this chain of the administrator's first, and makes it when it is absent; empty: none.
  std::string admin_chain = {};
};

/// A bridge with isolated ports: what the host would forward from one of them to another is dropped.
struct ClosedBridge {
  std::string name = {};
  addr::Mac mac = {};  ///< of the bridge: frames between two ports (bridge-nf-call-*) are not to it, and stay
};

/// Who may open connections to the VMs of a bridge, as upstream's firewall plugin has it.
enum class Ingress : uint8_t {
  kOpen,        ///< everybody
  kSameBridge,  ///< everybody but VMs and containers of other networks of ours
  kIsolated,    ///< as kSameBridge, and not those of the same bridge either
};

/// What is said of one VM.
struct VmPolicy {
  std::string owner = {};  ///< vm_mark() of it is how remove_vms() finds it
  std::vector<addr::Ip> addresses = {};
  std::optional<CompiledPolicy> own = {};  ///< absent: the network's lists are its; an older policy of its own goes
};

/// What the VMs of a network may open connections to, and who to them.
struct PolicyRules {
  CompiledPolicy lists = {};
  Ingress ingress = Ingress::kOpen;
  bool log = false;  ///< what is dropped goes to NFLOG group kLogGroup, at a limited rate
  /// The VMs of the bridge reach each other through the host, which answers ARP and neighbour solicitations for them:
  /// it must not answer when a VM asks whether its own address is free, nor redirect a VM to another one's MAC. Stays
  /// until the network is removed.
  bool segregated = false;
  std::vector<VmPolicy> vms = {};
};

/// The NFLOG group of dropped packets, in the namespace where the policy stands ('S').
inline constexpr uint16_t kLogGroup = 83;

/// All that one plugin wants to stand for a network. Rules accumulate: what an earlier call asked for (another range of
/// the pool, another plugin of the chain) stays until remove().
struct NetworkRules {
  std::string network = {};
  std::vector<addr::Cidr> masquerade = {};  ///< subnets whose traffic to elsewhere leaves under the host's address
  /// The same for IPv4 that comes from links whose names begin so (isolated networks); empty: none. Linux 5.7 and newer
  /// know a packet's first link there.
  std::string masquerade_links = {};
  std::optional<Forward> forward = {};  ///< forwarding accepted, here and past a foreign FORWARD policy of DROP
  /// Replaces what stood, in one transaction; absent: whatever stands stays. Selected by `forward`: packets from its
  /// bridge, or without one from its subnets.
  std::optional<PolicyRules> policy = {};
  std::optional<ClosedBridge> closed_bridge = {};
  std::string listed_bridge = {};  ///< put into the set `bridges` of table `inet slicer`; empty: none
};

/// Does it ask for masquerade at all?
[[nodiscard]] inline bool masquerades(const NetworkRules& rules) {
  return !rules.masquerade.empty() || !rules.masquerade_links.empty();
}

enum class Field : uint8_t {
  kInput,
  kOutput,
  kInputGroup,
  kSource,
  kDestination,
  kFrameTo,
  kReplies,  ///< iptables' `--ctstate RELATED,ESTABLISHED`: read of other programs' rules, in none of ours
};

/// One condition of a rule.
struct Match {
  Field field = Field::kInput;
  bool negate = false;
  std::string interface = {};  ///< kInput, kOutput: the name
  bool begins = false;         ///< …only its beginning
  uint32_t group = 0;          ///< kInputGroup: IFLA_GROUP of the link
  addr::Cidr prefix = {};      ///< kSource, kDestination: host bits are zero
  addr::Mac mac = {};          ///< kFrameTo: the destination in the Ethernet header
  friend bool operator==(const Match&, const Match&) = default;
};

enum class Verdict : uint8_t {
  kAccept,
  kDrop,
  kMasquerade,
  kGoto,
  kJump,  ///< read of other programs' rules, in none of ours
};

struct Rule {
  std::vector<Match> matches = {};
  Verdict verdict = Verdict::kAccept;
  std::string target = {};  ///< kGoto, kJump: the chain
  std::string comment = {};
  bool counter = false;  ///< iptables prints packet counts of its rules; one without would not list in its form
  /// The same packets to the same end under the same mark; a counter does not matter.
  [[nodiscard]] bool same_as(const Rule& other) const {
    return matches == other.matches && verdict == other.verdict && target == other.target && comment == other.comment;
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

/// `owner` as a comment: at most 127 bytes, a longer one cut and hashed.
std::string vm_mark(const std::string& owner);

/// What dropped packets of a network are logged with: "slicer:NETWORK ".
std::string log_prefix(const std::string& network);

/// The name of a policy: a hash of all its verdicts, and of the prefix that it logs with (empty: it does not log).
/// Policies that let everything pass have one name.
std::string policy_id(const CompiledPolicy& policy, const std::string& log_prefix);
/// The lists that judge, by policy_id(): the network's and VMs' own. What allows everything stands nowhere. They are
/// those of `rules`.
std::map<std::string, const CompiledPolicy*> judging_lists(const NetworkRules& rules);

/// A network's name as the end of an object's name: long ones are cut and hashed behind '/'.
std::string name_part(const std::string& network);

/// "masquerade-NETWORK" or "forward-NETWORK"; long names are cut and hashed behind '/'.
std::string chain_name(Hook hook, const std::string& network);

/// "routed-NETWORK": what closes a network without a bridge to isolated VMs.
std::string routed_chain_name(const std::string& network);

/// "within-NETWORK": portIsolation.
std::string within_chain_name(const std::string& network);

/// The chains that stand for `rules` in our own table, in a fixed order; rules sorted, without duplicates.
std::vector<Chain> own_chains(const NetworkRules& rules);

/// The rules that let the network through another program's FORWARD chain of `family`; empty when it has nothing of
/// that family. In this form `iptables -S` lists, -C finds and -D deletes them.
std::vector<Rule> foreign_openings(const std::string& network, const Forward& forward, addr::Family family);

/// `iifname "slicer0" ip saddr 192.0.2.0/24 accept`, for messages.
std::string rule_text(const Rule& rule);

}  // namespace slicer::netfilter
