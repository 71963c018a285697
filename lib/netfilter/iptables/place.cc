#include "lib/netfilter/iptables/place.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

namespace slicer::netfilter {
namespace {

// The lock keeps other iptables away; who does without it can still come between reading and writing (EAGAIN).
constexpr int kMaxRounds = 20;

/// One place, under the lock: read again, for it may have changed, and written at once.
Result<void> change_place(const IptPlace& place, const IptPlan& plan) {
  for (int round = 0;; ++round) {
    IptReading reading = TRY(read_place(place, plan));
    if (reading.change.empty()) return {};
    TRY(put_change(*reading.session, reading.standing, reading.change));
    Result<void> committed = reading.session->commit();
    if (committed) return {};
    if (committed.error().sys_errno != EAGAIN || round == kMaxRounds) return committed;
  }
}

bool has_hook(const std::vector<IptHooked>& hooks, const IptHooked& wanted) {
  return std::ranges::any_of(hooks, [&](const IptHooked& one) { return one.same_as(wanted); });
}

}  // namespace

bool is_family_there(addr::Family family) {
  std::error_code ignored;
  return family == addr::Family::kIpv4 || std::filesystem::exists("/proc/net/if_inet6", ignored);
}

Result<IptReading> read_place(const IptPlace& place, const IptPlan& plan) {
  std::unique_ptr<IptSession> session = TRY(IptSession::open(place.family, place.table));
  IptImage standing = read_image(*session, place.family, place.table, Detail::kNoPolicies);
  IptChange change = plan(standing);
  return IptReading{.session = std::move(session), .standing = std::move(standing), .change = std::move(change)};
}

Result<void> change_places(const std::vector<IptPlace>& places, const IptPlan& plan) {
  std::vector<IptPlace> open;
  for (const IptPlace& place : places)
    if (!TRY(read_place(place, plan)).change.empty()) open.push_back(place);
  if (open.empty()) return {};
  const FileLock lock = TRY(take_xtables_lock());
  for (const IptPlace& place : open) TRY(change_place(place, plan));
  return {};
}

IptChange difference_of(const IptImage& standing, const IptImage& wanted) {
  IptChange change;
  for (const auto& [name, rules] : wanted.chains) {
    const auto before = standing.chains.find(name);
    const bool known = before != standing.chains.end();
    // The name of a policy's chain says what is in it, and it has not been read.
    if (!known || (id_in_ipt_policy(name).empty() && before->second != rules)) change.put.emplace(name, rules);
  }
  for (const auto& [name, rules] : standing.chains)
    if (!wanted.chains.contains(name)) change.removed.push_back(name);
  for (const IptHooked& hook : standing.hooks)
    if (!has_hook(wanted.hooks, hook)) change.unhooked.push_back(hook);
  // The first is to be the first in its chain, and each is put at its head.
  for (auto hook = wanted.hooks.rbegin(); hook != wanted.hooks.rend(); ++hook)
    if (!has_hook(standing.hooks, *hook)) change.hooked.push_back(*hook);
  return change;
}

void add_ipt_policy(PolicyInForce& policy, const IptSession& session, const IptImage& image, const std::string& id) {
  const auto packets = [&](const std::string& chain, const char* verdict) {
    uint64_t sum = 0;
    for (const StandingIptRule& one : session.rules(chain))
      if (one.rule.target == verdict) sum += one.packets;
    return sum;
  };
  add_policy(policy.policy, image.chains, id);
  policy.passed += packets(ipt_pass_chain(id), "RETURN");
  policy.dropped += packets(ipt_drop_chain(id), "DROP");
  const auto drop = image.chains.find(ipt_drop_chain(id));
  policy.log = drop != image.chains.end() && drop->second.size() > 1;
}

}  // namespace slicer::netfilter
