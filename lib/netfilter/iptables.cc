#include "lib/netfilter/iptables.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <vector>

#include "lib/netfilter/iptables_plan.h"

namespace slicer::netfilter {
namespace {

using addr::Family;

// The lock keeps other iptables away; who does without it can still come between reading and writing (EAGAIN).
constexpr int kMaxRounds = 20;

/// One table of one family.
struct Place {
  IptTable table = IptTable::kFilter;
  Family family = Family::kIpv4;
};

// What closes comes before what opens: between two tables nothing is more open than before or after.
constexpr std::array kPlaces{Place{IptTable::kMangle, Family::kIpv4}, Place{IptTable::kMangle, Family::kIpv6},
                             Place{IptTable::kNat, Family::kIpv4},    Place{IptTable::kNat, Family::kIpv6},
                             Place{IptTable::kFilter, Family::kIpv4}, Place{IptTable::kFilter, Family::kIpv6}};

bool is_masqueraded(const NetworkRules& rules, Family family) {
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

bool concerns(const NetworkRules& rules, const Place& place) {
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

/// A kernel without IPv6 has nothing to close there.
bool is_family_there(Family family) {
  std::error_code ignored;
  return family == Family::kIpv4 || std::filesystem::exists("/proc/net/if_inet6", ignored);
}

/// One reading of a place, and what is to change.
struct Reading {
  std::unique_ptr<IptSession> session;
  IptImage standing;
  IptChange change;
};

template <class Plan>
Result<Reading> read_place(const Place& place, const Plan& plan) {
  std::unique_ptr<IptSession> session = TRY(IptSession::open(place.family, place.table));
  IptImage standing = read_image(*session, place.family, place.table, Detail::kNoPolicies);
  IptChange change = plan(standing);
  return Reading{.session = std::move(session), .standing = std::move(standing), .change = std::move(change)};
}

/// One place, under the lock: read again, for it may have changed, and written at once.
template <class Plan>
Result<void> change_place(const Place& place, const Plan& plan) {
  for (int round = 0;; ++round) {
    Reading reading = TRY(read_place(place, plan));
    if (reading.change.empty()) return {};
    TRY(put_change(*reading.session, reading.standing, reading.change));
    Result<void> committed = reading.session->commit();
    if (committed) return {};
    if (committed.error().sys_errno != EAGAIN || round == kMaxRounds) return committed;
  }
}

/// Looks without the lock, and takes it only where there is something to write.
template <class Plan>
Result<void> change_places(const std::vector<Place>& places, const Plan& plan) {
  std::vector<Place> open;
  for (const Place& place : places)
    if (!TRY(read_place(place, plan)).change.empty()) open.push_back(place);
  if (open.empty()) return {};
  const FileLock lock = TRY(take_xtables_lock());
  for (const Place& place : open) TRY(change_place(place, plan));
  return {};
}

std::vector<Place> wanted_places(const NetworkRules& rules) {
  std::vector<Place> places;
  for (const Place& place : kPlaces)
    if (is_family_there(place.family) && concerns(rules, place)) places.push_back(place);
  return places;
}

/// Tables that exist already; opening first comes down last.
std::vector<Place> standing_places() {
  std::vector<Place> places;
  for (const Place& place : kPlaces)
    if (is_in_use(place.family, place.table)) places.insert(places.begin(), place);
  return places;
}

/// Compares every entry of the policies in force; empty when all are as they should be.
Result<std::string> differing_policy(const NetworkRules& rules) {
  if (!rules.policy) return std::string();
  const std::string prefix = rules.policy->log ? log_prefix(rules.network) : std::string();
  std::map<std::string, const CompiledPolicy*> wanted;
  const auto want = [&](const CompiledPolicy& policy) {
    if (!policy.allows_everything()) wanted.emplace(policy_id(policy, prefix), &policy);
  };
  want(rules.policy->lists);
  for (const VmPolicy& vm : rules.policy->vms)
    if (vm.own) want(*vm.own);
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

void add_counters(PolicyInForce& policy, const IptSession& session, const std::string& id) {
  const auto packets = [&](const std::string& chain, const char* verdict) {
    uint64_t sum = 0;
    for (const StandingIptRule& one : session.rules(chain))
      if (one.rule.target == verdict) sum += one.packets;
    return sum;
  };
  policy.passed += packets(ipt_pass_chain(id), "RETURN");
  policy.dropped += packets(ipt_drop_chain(id), "DROP");
}

class Iptables final : public Backend {
 public:
  Result<void> ensure(const NetworkRules& rules) override {
    const auto plan = [&](const IptImage& standing) { return plan_rules(standing, rules); };
    return change_places(wanted_places(rules), plan)
        .context(fmt::format("write the rules of network '{}'", rules.network));
  }

  Result<void> check(const NetworkRules& rules) override {
    const auto plan = [&](const IptImage& standing) { return plan_rules(standing, rules); };
    std::string wrong;
    for (const Place& place : wanted_places(rules)) {
      if (!wrong.empty()) break;
      const Reading reading = TRY(read_place(place, plan));
      if (!reading.change.empty()) wrong = change_text(reading.standing, reading.change);
    }
    if (wrong.empty()) wrong = TRY(differing_policy(rules));
    if (wrong.empty()) return {};
    return fail(Kind::kMismatch, fmt::format("check the rules of network '{}': {}", rules.network, wrong),
                "the next ADD on this network puts it back; find out which program removed it");
  }

  Result<void> remove(const std::string& network) override {
    return change_places(standing_places(), [&](const IptImage& standing) { return plan_removal(standing, network); })
        .context(fmt::format("remove the rules of network '{}'", network));
  }

  Result<void> remove_vms(const std::string& network, const VmFilter& gone) override {
    std::vector<Place> places = standing_places();
    std::erase_if(places, [](const Place& place) { return place.table != IptTable::kMangle; });
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
      for (const std::string& id : ids) {
        PolicyInForce& policy = found.policies[id];
        add_policy(policy.policy, image.chains, id);
        add_counters(policy, *session, id);
        const auto drop = image.chains.find(ipt_drop_chain(id));
        policy.log = drop != image.chains.end() && drop->second.size() > 1;
      }
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
