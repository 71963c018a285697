#include "lib/netfilter/nftables/foreign.h"

#include <linux/netfilter.h>

#include <algorithm>
#include <string_view>

namespace slicer::netfilter {
namespace {

constexpr const char* kFilterTable = "filter";
constexpr const char* kForwardChain = "FORWARD";
constexpr const char* kUserChain = "DOCKER-USER";

ForeignTarget target_of(uint16_t family) {
  return {.forward = {.family = family, .table = kFilterTable, .chain = kForwardChain},
          .user = {.family = family, .table = kFilterTable, .chain = kUserChain}};
}

bool same_table(const StandingChain& a, const StandingChain& b) {
  return a.place.family == b.place.family && a.place.table == b.place.table;
}

/// Does a chain of the same table begin with `prefix`?
bool has_chain(const std::vector<StandingChain>& all, const StandingChain& of, std::string_view prefix) {
  return std::ranges::any_of(
      all, [&](const StandingChain& chain) { return same_table(chain, of) && chain.place.chain.starts_with(prefix); });
}

bool is_iptables(const StandingChain& chain) {
  return chain.place.table == kFilterTable && chain.place.chain == kForwardChain && chain.place.family != kInet;
}

std::string program_of(const std::vector<StandingChain>& all, const StandingChain& chain) {
  if (chain.place.table == "firewalld") return "firewalld";
  if (!is_iptables(chain)) return "nftables";
  if (has_chain(all, chain, "ufw-") || has_chain(all, chain, "ufw6-")) return "ufw";
  return has_chain(all, chain, "DOCKER") ? "docker" : "iptables";
}

std::string remedy_of(const std::string& program, const ForeignFirewall& found) {
  if (program == "docker" || program == "iptables")
    return "slicer-firewall opens it: run CHECK, or start a VM on the network, when an opening is gone";
  if (program == "ufw")
    return "to keep it over a reload of ufw: ufw route allow in on BRIDGE; ufw route allow out on BRIDGE";
  if (program == "firewalld")
    return "firewall-cmd --permanent --zone=trusted --add-source=SUBNET; firewall-cmd --reload";
  return "accept the network's bridge in chain '" + found.chain + "' of table '" + found.family + " " + found.table +
         "'";
}

bool drops_forwarding(const StandingChain& chain) {
  if (chain.type.empty() || chain.hook != NF_INET_FORWARD) return false;
  // firewalld's chain accepts by policy and rejects by its last rule.
  return chain.policy_drop || (chain.place.table == "firewalld" && chain.place.chain.starts_with("filter_"));
}

Result<std::vector<StandingChain>> all_chains(NftSession& session) {
  std::vector<StandingChain> chains;
  for (const uint16_t family : {kIpv4, kIpv6, kInet}) {
    MessageBuffer question;
    ask_all_chains(question, family);
    (void)TRY(session.ask(question, [&](uint32_t, const nlmsghdr* message) {
      if (std::optional<StandingChain> chain = read_chain(message)) chains.push_back(std::move(*chain));
    }));
  }
  return chains;
}

Result<std::vector<std::string>> marks_in(NftSession& session, const ChainPlace& place) {
  std::vector<std::string> marks;
  MessageBuffer question;
  ask_rules(question, place);
  (void)TRY(session.ask(question, [&](uint32_t, const nlmsghdr* message) {
    const std::optional<StandingRule> rule = read_rule(message);
    if (!rule || !rule->rule || !rule->comment.starts_with("slicer:")) return;
    if (std::ranges::find(marks, rule->comment) == marks.end()) marks.push_back(rule->comment);
  }));
  return marks;
}

}  // namespace

const char* family_name(uint16_t family) {
  switch (family) {
    case kIpv4:
      return "ip";
    case kIpv6:
      return "ip6";
    default:
      return "inet";
  }
}

std::vector<ForeignTarget> foreign_targets(const std::string& network, const Forward& forward) {
  std::vector<ForeignTarget> targets;
  for (const addr::Family family : {addr::Family::kIpv4, addr::Family::kIpv6}) {
    ForeignTarget target = target_of(family == addr::Family::kIpv4 ? kIpv4 : kIpv6);
    target.openings = foreign_openings(network, forward, family);
    if (!target.openings.empty()) targets.push_back(std::move(target));
  }
  return targets;
}

std::vector<ChainPlace> foreign_places() {
  std::vector<ChainPlace> places;
  for (const uint16_t family : {kIpv4, kIpv6}) {
    places.push_back(target_of(family).user);
    places.push_back(target_of(family).forward);
  }
  return places;
}

Result<std::vector<ForeignFirewall>> find_nft_firewalls() {
  NftSession session = TRY(NftSession::open());
  const std::vector<StandingChain> chains = TRY(all_chains(session));
  std::vector<ForeignFirewall> found;
  for (const StandingChain& chain : chains) {
    const bool own = chain.place.family == kInet && chain.place.table == kTable;
    if (own || !drops_forwarding(chain)) continue;
    ForeignFirewall firewall{.program = program_of(chains, chain),
                             .family = family_name(chain.place.family),
                             .table = chain.place.table,
                             .chain = chain.place.chain};
    if (is_iptables(chain)) {
      firewall.opening_chain = has_chain(chains, chain, kUserChain) ? kUserChain : kForwardChain;
      ChainPlace place = chain.place;
      place.chain = firewall.opening_chain;
      firewall.opened = TRY(marks_in(session, place));
    }
    firewall.remedy = remedy_of(firewall.program, firewall);
    found.push_back(std::move(firewall));
  }
  return found;
}

}  // namespace slicer::netfilter
