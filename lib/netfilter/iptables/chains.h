#pragma once
// Which chains a network has in the legacy tables, by name, and their rules. Pure. Private to the iptables files.
//
//   nat      POSTROUTING -> slicer-msq-HASH     masquerade
//   filter   FORWARD (DOCKER-USER) -> slicer-fwd-HASH   the administrator's chain, then forwarding accepted
//   mangle   PREROUTING  -> slicer-egr-HASH     packets from the network's VMs go to
//                           slicer-jdg-HASH     what passes always; VMs with a policy of their own; then the network's
//            PREROUTING  -> slicer-dad-HASH     duplicate address detection on a segregated bridge
//            FORWARD     -> slicer-ing-HASH     ingressPolicy
//            FORWARD     -> slicer-wth-HASH     portIsolation; of a routed network: isolated VMs out
//            OUTPUT      -> slicer-red-HASH     redirects on a segregated bridge
//                           slicer-bridges      the bridges of all networks of this backend
//
// Whatever closes something is in mangle, at the head: no ACCEPT of another program's filter rules comes before it, and
// ours returns to their rules. HASH is the network's; the rules that lead into a chain have the comment
// "slicer:NETWORK".

#include <optional>
#include <string>
#include <vector>

#include "lib/netfilter/iptables/policy.h"
#include "lib/netfilter/iptables/table.h"

namespace slicer::netfilter {

inline constexpr const char* kBridgesChain = "slicer-bridges";
inline constexpr const char* kOurChains = "slicer-";

/// Kinds of a network's chains.
enum class IptPart : uint8_t {
  kMasquerade,
  kForward,
  kEgress,
  kJudge,
  kDetection,
  kIngress,
  kWithin,
  kRedirects,
};
std::string ipt_chain(IptPart part, const std::string& network);
/// Is it some network's chain of a part that hangs on a chain of the kernel's?
bool is_hooked_kind(const std::string& chain);

/// Where a part is hooked in.
struct IptHook {
  IptTable table = IptTable::kMangle;
  std::string chain = {};  ///< built in
  bool first = true;       ///< at its head, else at its end
};
/// None for kJudge, which egress leads to.
std::optional<IptHook> hook_of(IptPart part);

/// `rule`, one of ruleset.h's, in iptables' form; absent when it is of the other family.
std::optional<IptRule> convert(const Rule& rule, addr::Family family);

std::vector<IptRule> masquerade_rules(const NetworkRules& rules, addr::Family family);
std::vector<IptRule> forward_rules(const NetworkRules& rules, addr::Family family);
std::vector<IptRule> within_rules(const NetworkRules& rules, addr::Family family);
std::vector<IptRule> ingress_chain_rules(const NetworkRules& rules, addr::Family family);
std::vector<IptRule> detection_rules(const NetworkRules& rules, addr::Family family);
std::vector<IptRule> redirects_rules(const NetworkRules& rules, addr::Family family);
/// What selects the network's packets; each leads to the judge.
std::vector<IptRule> selector_rules(const NetworkRules& rules, addr::Family family);
/// What passes whatever a policy says.
std::vector<IptRule> always_passing_rules(addr::Family family);
/// The element of slicer-bridges.
IptRule bridge_rule(const NetworkRules& rules, addr::Family family);
/// NFLOG's prefix holds 63 bytes.
std::string ipt_log_prefix(const std::string& network);

/// A VM with a policy of its own, as the judge has it.
struct IptOwn {
  addr::Ip address = {};
  std::string owner = {};   ///< vm_mark()
  std::string policy = {};  ///< ID
};
/// The judge and the chains below it.
IptChains judge_chains(const std::string& network, addr::Family family, std::vector<IptOwn> own,
                       const std::string& policy);
/// Read back.
struct IptJudge {
  std::string policy = {};  ///< ID; empty: no such chain
  std::vector<IptOwn> own = {};
};
IptJudge read_judge(const IptChains& chains, const std::string& network);

}  // namespace slicer::netfilter
