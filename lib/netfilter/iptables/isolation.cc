#include "lib/netfilter/iptables/isolation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "lib/netfilter/iptables/place.h"

namespace slicer::netfilter {
namespace {

using addr::Family;

constexpr const char* kPre = "slicer-iso-pre";
constexpr const char* kInput = "slicer-iso-inp";
constexpr const char* kForward = "slicer-iso-fwd";
constexpr const char* kTo = "slicer-iso-to";
constexpr const char* kOpen = "slicer-iso-open";
constexpr const char* kShut = "slicer-iso-shut";
constexpr const char* kChains = "slicer-iso-";
constexpr const char* kComment = "slicer: isolated networks";

addr::Cidr link_local() { return {.ip = addr::Ip(Family::kIpv4, 0xa9fe0000U), .prefix = 16}; }

/// "slicer-iso-open", "slicer-iso-open-2"
bool is_opening_chain(const std::string& name) { return name.starts_with(kOpen); }

IptHooked hook(Family family, const char* chain, bool from, const char* target) {
  IptRule rule{.family = family};
  if (from)
    rule.in(kIsolatedLinks, false, true);
  else
    rule.out(kIsolatedLinks, false, true);
  return {.chain = chain, .rule = rule.says(kComment).jump(target)};
}

/// A tree by the VM's address: a packet meets few rules, however many VMs have an opening. What is opened is accepted
/// in this table: one rule serves all hooks.
void put_openings(std::vector<Opening> pairs, IptChains& chains) {
  std::ranges::sort(pairs, {}, [](const Opening& one) { return std::pair(one.source, one.destination); });
  std::vector<IptLeaf> leaves;
  for (const Opening& opening : pairs) {
    if (leaves.empty() || leaves.back().range.first != opening.source)
      leaves.push_back({.range = {.first = opening.source, .last = opening.source}});
    IptRule rule{.family = Family::kIpv4};
    rule.from({.ip = opening.source, .prefix = 32}).to({.ip = opening.destination, .prefix = 32});
    leaves.back().rules.push_back(rule.says(opening.comment).jump("ACCEPT"));
  }
  IptChains nodes;
  const IptTree tree{.family = Family::kIpv4, .node_prefix = std::string(kOpen) + "-", .by_source = true};
  chains[kOpen] = build_tree(tree, std::move(leaves), nodes);
  chains.merge(nodes);
}

std::vector<Opening> read_openings(const IptChains& chains) {
  std::vector<Opening> pairs;
  for (const auto& [name, rules] : chains) {
    if (!is_opening_chain(name)) continue;
    for (const IptRule& rule : rules)
      if (rule.target == "ACCEPT" && rule.source && rule.destination)
        pairs.push_back(
            {.source = rule.source->cidr.ip, .destination = rule.destination->cidr.ip, .comment = rule.comment()});
  }
  return pairs;
}

/// The constants: everything but openings and bridges, which are kept as they stand.
IptChains constants() {
  const IptRule plain{.family = Family::kIpv4};
  IptChains chains;
  std::vector<IptRule>& pre = chains[kPre];
  pre.push_back(IptRule(plain).jump(kOpen));
  for (const IptAddressType type : {IptAddressType::kLocal, IptAddressType::kBroadcast, IptAddressType::kMulticast})
    pre.push_back(IptRule(plain).destination_type(type).jump("DROP"));
  pre.push_back(IptRule(plain).to(link_local()).jump("DROP"));
  chains[kInput] = {IptRule(plain).jump(kOpen), IptRule(plain).jump("DROP")};
  chains[kForward] = {IptRule(plain).out(kOwnLinks, false, true).jump("DROP"),
                      IptRule(plain).jump(kIsolationBridgesChain), IptRule(plain).to(link_local()).jump(kOpen),
                      IptRule(plain).to(link_local()).jump("DROP")};
  chains[kTo] = {IptRule(plain).reply_direction().jump("RETURN"), IptRule(plain).jump("DROP")};
  return chains;
}

IptImage wanted_of(const IptImage& standing, const std::vector<MarkedBridge>& bridges) {
  IptImage wanted{.family = standing.family, .table = standing.table};
  for (const char* chain : {"PREROUTING", "INPUT", "FORWARD"})
    wanted.hooks.push_back(hook(standing.family, chain, true, kShut));
  for (const char* chain : {"FORWARD", "OUTPUT"}) wanted.hooks.push_back(hook(standing.family, chain, false, kShut));
  if (standing.family == Family::kIpv6) {
    wanted.chains[kShut] = {IptRule{.family = Family::kIpv6}.jump("DROP")};
    return wanted;
  }
  const std::array targets{kPre, kInput, kForward, kTo, kTo};
  for (size_t i = 0; i < targets.size(); ++i) wanted.hooks[i].rule.target = targets.at(i);
  wanted.chains = constants();
  put_openings(read_openings(standing.chains), wanted.chains);
  std::vector<IptRule>& listed = wanted.chains[kIsolationBridgesChain];
  if (const auto there = standing.chains.find(kIsolationBridgesChain); there != standing.chains.end())
    listed = there->second;
  for (const MarkedBridge& bridge : bridges)
    if (std::ranges::find(listed, isolation_bridge_rule(bridge)) == listed.end())
      listed.push_back(isolation_bridge_rule(bridge));
  return wanted;
}

/// Of the table, what is isolation's.
IptImage own_part(const IptImage& image) {
  IptImage own{.family = image.family, .table = image.table, .others = image.others};
  for (const auto& [name, rules] : image.chains)
    if (name.starts_with(kChains)) own.chains.emplace(name, rules);
  for (const IptHooked& one : image.hooks)
    if (one.rule.target.starts_with(kChains)) own.hooks.push_back(one);
  return own;
}

std::vector<IptPlace> places() {
  // Closed in both before anything is made that needs it: the order says which is first.
  if (is_family_there(Family::kIpv6)) return {kMangle6, kMangle4};
  return {kMangle4};
}

std::vector<IptPlace> standing_places() {
  std::vector<IptPlace> standing;
  for (const IptPlace& place : {kMangle4, kMangle6})
    if (is_in_use(place.family, place.table)) standing.push_back(place);
  return standing;
}

Result<IptImage> read_own(const IptPlace& place) {
  const auto session = TRY(IptSession::open(place.family, place.table));
  return own_part(read_image(*session, place.family, place.table, Detail::kNoPolicies));
}

IptChange plan_ensure(const IptImage& image, const std::vector<MarkedBridge>& bridges) {
  const IptImage own = own_part(image);
  return difference_of(own, wanted_of(own, bridges));
}

/// For a chain that lists bridges one way or the other, when it is there.
void want_listed(const IptImage& image, const char* chain, const IptRule& rule, IptChange& change) {
  const auto there = image.chains.find(chain);
  if (there == image.chains.end()) return;
  std::vector<IptRule>& rules = change.put.try_emplace(chain, there->second).first->second;
  if (std::ranges::find(rules, rule) == rules.end()) rules.push_back(rule);
}

}  // namespace

IptRule isolation_bridge_rule(const MarkedBridge& bridge) {
  return IptRule{.family = Family::kIpv4}.out(bridge.name).says(bridge.mark).jump("DROP");
}

Result<bool> stands_in_legacy() {
  if (!is_in_use(Family::kIpv4, IptTable::kMangle)) return false;
  return !TRY(read_own(kMangle4)).chains.empty();
}

Result<void> ensure_legacy_isolation(const std::function<Result<std::vector<MarkedBridge>>()>& bridges) {
  constexpr const char* kAction = "write the rules of isolated networks";
  bool stands = true;
  for (const IptPlace& place : places())
    stands =
        stands && TRY(read_place(place, [](const IptImage& image) { return plan_ensure(image, {}); })).change.empty();
  if (stands) return {};
  const std::vector<MarkedBridge> listed = TRY(bridges());
  return change_places(places(), [&](const IptImage& image) { return plan_ensure(image, listed); }).context(kAction);
}

Result<void> check_legacy_isolation() {
  for (const IptPlace& place : places()) {
    const IptReading reading = TRY(read_place(place, [](const IptImage& image) { return plan_ensure(image, {}); }));
    if (reading.change.empty()) continue;
    return fail(
        Kind::kMismatch,
        fmt::format("check the rules of isolated networks: {}",
                    change_text(own_part(reading.standing), reading.change)),
        "slicer-run network reload puts it back, as does the next ADD on an isolated network; find out who changed it");
  }
  return {};
}

Result<std::vector<MarkedBridge>> legacy_listed_bridges() {
  std::vector<MarkedBridge> bridges;
  const IptImage own = TRY(read_own(kMangle4));
  const auto listed = own.chains.find(kIsolationBridgesChain);
  if (listed == own.chains.end()) return bridges;
  for (const IptRule& rule : listed->second)
    if (rule.output && rule.target == "DROP") bridges.push_back({.name = rule.output->name, .mark = rule.comment()});
  return bridges;
}

Result<bool> remove_legacy_isolation() {
  bool any = false;
  for (const IptPlace& place : standing_places()) {
    const IptImage own = TRY(read_own(place));
    any = any || !own.chains.empty() || !own.hooks.empty();
  }
  if (!any) return false;
  TRY(change_places(standing_places(), [](const IptImage& image) {
        const IptImage own = own_part(image);
        return difference_of(own, {.family = own.family, .table = own.table});
      }).context("remove the rules of isolated networks"));
  return true;
}

Result<void> change_legacy_openings(const std::string& action, const OpeningPlan& plan) {
  if (!TRY(stands_in_legacy())) return {};
  const auto change = [&](const IptImage& image) {
    const IptImage own = own_part(image);
    IptImage wanted = own;
    std::erase_if(wanted.chains, [](const auto& entry) { return is_opening_chain(entry.first); });
    put_openings(plan(read_openings(own.chains)), wanted.chains);
    return difference_of(own, wanted);
  };
  return change_places({kMangle4}, change).context(action);
}

Result<std::vector<Opening>> legacy_openings() {
  if (!is_in_use(Family::kIpv4, IptTable::kMangle)) return std::vector<Opening>{};
  return read_openings(TRY(read_own(kMangle4)).chains);
}

Result<void> list_in_legacy(const std::vector<MarkedBridge>& bridges) {
  if (bridges.empty()) return {};
  return change_places(standing_places(), [&](const IptImage& image) {
    IptChange change;
    for (const MarkedBridge& bridge : bridges) {
      const IptRule plain{.family = image.family};
      want_listed(image, kBridgesChain, IptRule(plain).in(bridge.name).says(bridge.mark).jump("DROP"), change);
      if (image.family == Family::kIpv4)
        want_listed(image, kIsolationBridgesChain, isolation_bridge_rule(bridge), change);
    }
    std::erase_if(change.put, [&](const auto& entry) { return image.chains.at(entry.first) == entry.second; });
    return change;
  });
}

}  // namespace slicer::netfilter
