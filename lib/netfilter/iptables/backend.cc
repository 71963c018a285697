#include "lib/netfilter/iptables/backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "lib/netfilter/iptables/place.h"

namespace slicer::netfilter {
namespace {

using addr::Family;

// What closes comes before what opens: between two tables nothing is more open than before or after.
constexpr std::array kPlaces{IptPlace{IptTable::kMangle, Family::kIpv4}, IptPlace{IptTable::kMangle, Family::kIpv6},
                             IptPlace{IptTable::kNat, Family::kIpv4},    IptPlace{IptTable::kNat, Family::kIpv6},
                             IptPlace{IptTable::kFilter, Family::kIpv4}, IptPlace{IptTable::kFilter, Family::kIpv6}};

bool is_masqueraded(const NetworkRules& rules, Family family) {
  if (family == Family::kIpv4 && !rules.masquerade_links.empty()) return true;
  return std::ranges::any_of(rules.masquerade, [&](const addr::Cidr& one) { return one.family() == family; });
}

/// A policy that closes nothing is nothing to write; one that stands may have to go.
bool concerns_mangle(const NetworkRules& rules, Family family) {
  if (rules.closed_bridge || !rules.listed_bridge.empty()) return true;
  if (!rules.policy) return false;
  const PolicyRules& policy = *rules.policy;
  const bool own = std::ranges::any_of(policy.vms, [](const VmPolicy& vm) { return vm.own.has_value(); });
  return own || policy.segregated || policy.ingress != Ingress::kOpen || !policy.lists.allows_everything() ||
         is_in_use(family, IptTable::kMangle);
}

bool concerns(const NetworkRules& rules, const IptPlace& place) {
  switch (place.table) {
    case IptTable::kNat:
      return is_masqueraded(rules, place.family);
    case IptTable::kFilter:
      return !forward_rules(rules, place.family).empty();
    case IptTable::kMangle:
      return concerns_mangle(rules, place.family);
  }
  return false;
}

std::vector<IptPlace> wanted_places(const NetworkRules& rules) {
  std::vector<IptPlace> places;
  for (const IptPlace& place : kPlaces)
    if (is_family_there(place.family) && concerns(rules, place)) places.push_back(place);
  return places;
}

/// Tables that exist already; opening first comes down last.
std::vector<IptPlace> standing_places() {
  std::vector<IptPlace> places;
  for (const IptPlace& place : kPlaces)
    if (is_in_use(place.family, place.table)) places.insert(places.begin(), place);
  return places;
}

/// Compares every entry of the policies in force; empty when all are as they should be.
Result<std::string> differing_policy(const NetworkRules& rules) {
  const std::map<std::string, const CompiledPolicy*> wanted = judging_lists(rules);
  if (wanted.empty()) return std::string();
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    if (!is_family_there(family)) continue;
    const auto session = TRY(IptSession::open(family, IptTable::kMangle));
    const IptImage image = read_image(*session, family, IptTable::kMangle, Detail::kAll);
    for (const auto& [id, policy] : wanted) {
      if (!image.chains.contains(ipt_policy_chain(id))) continue;  // no VM of this family has it
      const std::string short_prefix = rules.policy->log ? ipt_log_prefix(rules.network) : std::string();
      for (const auto& [name, chain] : policy_chains({.family = family, .id = id, .log_prefix = short_prefix}, *policy))
        if (const auto there = image.chains.find(name); there == image.chains.end() || there->second != chain)
          return fmt::format("chain '{}' in table 'mangle' of {} holds other addresses than its lists", name,
                             program_of(family));
    }
  }
  return std::string();
}

/// `iptables -F` has left another network's chain, to which nothing leads any more.
bool others_were_taken(const IptImage& standing) {
  return std::ranges::any_of(standing.chains, [&](const auto& entry) {
    return is_hooked_kind(entry.first) &&
           std::ranges::none_of(standing.hooks, [&](const IptHooked& hook) { return hook.rule.target == entry.first; });
  });
}

/// Constant rules are missing: did they stand before? `iptables -F` leaves our chains, empty and hooked in nowhere.
Result<bool> were_taken(const IptImage& standing, const IptChange& change, const std::string& network,
                        const LossWatch& watch) {
  bool missing = false;
  for (const IptPart part : {IptPart::kMasquerade, IptPart::kForward, IptPart::kEgress, IptPart::kWithin}) {
    const std::string chain = ipt_chain(part, network);
    const auto leads_there = [&](const IptHooked& hook) { return hook.rule.target == chain; };
    if (std::ranges::none_of(change.hooked, leads_there)) continue;
    if (standing.chains.contains(chain)) return true;
    missing = true;
  }
  if (missing && others_were_taken(standing)) return true;
  return missing && watch.evidence ? watch.evidence(false) : Result<bool>(false);
}

class Iptables final : public Backend {
 public:
  Result<void> ensure_watched(const NetworkRules& rules, LossWatch* watch) override {
    // A place that is to change is read once more under the lock: that reading counts.
    std::map<IptTable, std::map<Family, bool>> lost;
    Result<void> unknown;
    const auto plan = [&](const IptImage& standing) {
      IptChange change = plan_rules(standing, rules);
      if (watch == nullptr) return change;
      if (!change.empty() && watch->before_write && unknown) unknown = watch->before_write();
      const Result<bool> taken = were_taken(standing, change, rules.network, *watch);
      if (!taken) unknown = std::unexpected(taken.error());
      lost[standing.table][standing.family] = taken.value_or(false);
      return change;
    };
    TRY(change_places(wanted_places(rules), plan)
            .context(fmt::format("write the rules of network '{}'", rules.network)));
    TRY(std::move(unknown));
    for (const auto& [table, families] : lost)
      for (const auto& [family, taken] : families) watch->lost = watch->lost || taken;
    return {};
  }

  Result<void> check(const NetworkRules& rules) override {
    const auto plan = [&](const IptImage& standing) { return plan_rules(standing, rules); };
    std::string wrong;
    for (const IptPlace& place : wanted_places(rules)) {
      if (!wrong.empty()) break;
      const IptReading reading = TRY(read_place(place, plan));
      if (!reading.change.empty()) wrong = change_text(reading.standing, reading.change);
    }
    if (wrong.empty()) wrong = TRY(differing_policy(rules));
    if (wrong.empty()) return {};
    return fail(
        Kind::kMismatch, fmt::format("check the rules of network '{}': {}", rules.network, wrong),
        "slicer-run network reload puts it back, as does the next ADD on this network; find out who removed it");
  }

  Result<void> remove(const std::string& network) override {
    return change_places(standing_places(), [&](const IptImage& standing) { return plan_removal(standing, network); })
        .context(fmt::format("remove the rules of network '{}'", network));
  }

  Result<void> remove_vms(const std::string& network, const VmFilter& gone) override {
    std::vector<IptPlace> places = standing_places();
    std::erase_if(places, [](const IptPlace& place) { return place.table != IptTable::kMangle; });
    return change_places(places, [&](const IptImage& standing) { return plan_vm_removal(standing, network, gone); })
        .context(fmt::format("remove the policies of VMs of network '{}'", network));
  }

  Result<PoliciesInForce> list_policies(const std::string& network) override {
    PoliciesInForce found;
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
      if (!is_in_use(family, IptTable::kMangle)) continue;
      const auto session = TRY(IptSession::open(family, IptTable::kMangle));
      const IptImage image = read_image(*session, family, IptTable::kMangle, Detail::kAll);
      const IptJudge judge = read_judge(image.chains, network);
      if (judge.policy.empty()) continue;
      found.lists = judge.policy;
      std::vector<std::string> ids{judge.policy};
      for (const IptOwn& own : judge.own) {
        found.vms.push_back({.owner = own.owner, .address = own.address, .policy = own.policy});
        if (std::ranges::find(ids, own.policy) == ids.end()) ids.push_back(own.policy);
      }
      for (const std::string& id : ids) add_ipt_policy(found.policies[id], *session, image, id);
    }
    return found;
  }

  Result<void> probe() override {
    Result<std::unique_ptr<IptSession>> session = IptSession::open(Family::kIpv4, IptTable::kFilter);
    if (session) return {};
    Error error = std::move(session).error();
    error.kind = Kind::kUnavailable;
    return std::unexpected(std::move(error));
  }
};

}  // namespace

std::unique_ptr<Backend> make_iptables_backend() { return std::make_unique<Iptables>(); }

}  // namespace slicer::netfilter
