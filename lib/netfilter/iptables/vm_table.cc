// The rules in a VM's namespace, in its legacy table mangle.
//
//   PREROUTING -> slicer-vm-pre     IPv4 without options, from the guest, for the guest
//   INPUT      -> slicer-vm-inp     pings of the gateway; replies to port forwards
//   FORWARD    -> slicer-vm-fwd     between TAP and uplink alone
//                 slicer-vm-lists   replies pass, all else goes to slicer-pol-ID
//   OUTPUT     -> slicer-vm-out
// IPv6: PREROUTING and OUTPUT, which drop.
#include "lib/netfilter/vm_table.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "lib/netfilter/iptables/place.h"

namespace slicer::netfilter {
namespace {

using addr::Family;

constexpr const char* kChains = "slicer-vm-";
constexpr const char* kPre = "slicer-vm-pre";
constexpr const char* kInput = "slicer-vm-inp";
constexpr const char* kForward = "slicer-vm-fwd";
constexpr const char* kLists = "slicer-vm-lists";
constexpr const char* kOutput = "slicer-vm-out";
constexpr uint8_t kEchoRequest = 8;  // RFC 792
constexpr size_t kMaxLogPrefix = 63;

constexpr const char* kOwnNamespace = "/proc/thread-self/ns/net";

/// While it lives the thread is in the table's namespace: libiptc opens its socket where the thread is.
class Visit {
 public:
  static Result<Visit> enter(int ns) {
    UniqueFd back(open(kOwnNamespace, O_RDONLY | O_CLOEXEC));
    if (!back.valid()) return fail_errno(errno, fmt::format("open '{}'", kOwnNamespace));
    if (setns(ns, CLONE_NEWNET) != 0) return fail_errno(errno, "enter the VM's network namespace");
    return Visit(std::move(back));
  }
  Visit(Visit&&) noexcept = default;
  Visit& operator=(Visit&&) = delete;
  ~Visit() {
    // In the wrong namespace nothing may go on.
    if (back_.valid() && setns(back_.get(), CLONE_NEWNET) != 0) std::abort();
  }

 private:
  explicit Visit(UniqueFd back) : back_(std::move(back)) {}
  UniqueFd back_;
};

addr::Cidr whole(const addr::Ip& ip) { return {.ip = ip, .prefix = addr::bits_of(ip.family())}; }

std::string log_prefix_of(const VmTableRules& rules) {
  if (!rules.log) return {};
  const std::string prefix = ipt_log_prefix(rules.owner.network);
  return prefix.substr(0, kMaxLogPrefix);
}

std::string id_of(const VmTableRules& rules) {
  return policy_id(rules.policy, rules.log ? rules.log->prefix : std::string());
}

IptChains chains4(const VmTableRules& vm) {
  const IptRule plain{.family = Family::kIpv4};
  IptChains chains =
      policy_chains({.family = Family::kIpv4, .id = id_of(vm), .log_prefix = log_prefix_of(vm)}, vm.policy);
  chains[kPre] = {IptRule(plain).in(vm.tap).from(whole(vm.guest), true).jump("DROP"),
                  IptRule(plain).in(vm.tap).ipv4_options().jump("DROP"),
                  IptRule(plain).in(vm.uplink).to(whole(vm.guest), true).jump("DROP")};
  chains[kInput] = {IptRule(plain).in(vm.tap).reply_direction().jump("RETURN"),
                    IptRule(plain).in(vm.tap).to(whole(vm.gateway)).icmp_type(kEchoRequest).jump("RETURN"),
                    IptRule(plain).in(vm.tap).jump("DROP"), IptRule(plain).in(vm.uplink).jump("DROP")};
  chains[kForward] = {IptRule(plain).in(vm.uplink).out(vm.tap).reply_direction().jump("RETURN"),
                      IptRule(plain).in(vm.tap).out(vm.uplink).go(kLists),
                      IptRule(plain).in(vm.tap).jump("DROP"),
                      IptRule(plain).out(vm.tap).jump("DROP"),
                      IptRule(plain).in(vm.uplink).jump("DROP"),
                      IptRule(plain).out(vm.uplink).jump("DROP")};
  chains[kLists] = {IptRule(plain).reply_direction().jump("RETURN"),
                    IptRule(plain).says(lists_mark(vm).text()).go(ipt_policy_chain(id_of(vm)))};
  // What the namespace itself says to the outside are errors about forwarded packets.
  chains[kOutput] = {IptRule(plain).out(vm.uplink).reply_direction().jump("RETURN"),
                     IptRule(plain).out(vm.uplink).jump("DROP")};
  return chains;
}

IptChains chains6(const VmTableRules& vm) {
  const IptRule plain{.family = Family::kIpv6};
  return {{kPre, {IptRule(plain).in(vm.tap).jump("DROP"), IptRule(plain).in(vm.uplink).jump("DROP")}},
          {kOutput, {IptRule(plain).out(vm.tap).jump("DROP"), IptRule(plain).out(vm.uplink).jump("DROP")}}};
}

IptImage wanted_of(Family family, const VmTableRules& vm) {
  IptImage wanted{.family = family, .table = IptTable::kMangle};
  const auto hook = [&](const char* chain, const char* target) {
    IptRule rule{.family = family};
    wanted.hooks.push_back({.chain = chain, .rule = rule.says(vm.owner.mark()).jump(target)});
  };
  wanted.chains = family == Family::kIpv4 ? chains4(vm) : chains6(vm);
  hook("PREROUTING", kPre);
  hook("OUTPUT", kOutput);
  if (family == Family::kIpv6) return wanted;
  hook("INPUT", kInput);
  hook("FORWARD", kForward);
  return wanted;
}

bool is_own_chain(const std::string& name) { return name.starts_with(kChains) || !id_in_ipt_policy(name).empty(); }

IptImage own_part(const IptImage& image) {
  IptImage own{.family = image.family, .table = image.table, .others = image.others};
  for (const auto& [name, rules] : image.chains)
    if (is_own_chain(name)) own.chains.emplace(name, rules);
  for (const IptHooked& one : image.hooks)
    if (one.rule.target.starts_with(kChains)) own.hooks.push_back(one);
  return own;
}

std::optional<std::string> mark_in(const IptImage& image) {
  for (const IptHooked& one : image.hooks)
    if (one.rule.target.starts_with(kChains)) return one.rule.comment();
  return std::nullopt;
}

std::string lists_comment(const IptImage& image) {
  const auto chain = image.chains.find(kLists);
  if (chain == image.chains.end()) return {};
  for (const IptRule& rule : chain->second)
    if (rule.go_to) return rule.comment();
  return {};
}

/// Leaves out what is about the lists.
IptImage without_lists(IptImage image) {
  std::erase_if(image.chains,
                [](const auto& entry) { return entry.first == kLists || !id_in_ipt_policy(entry.first).empty(); });
  return image;
}

Result<IptImage> read_own(const IptPlace& place, Detail detail) {
  const auto session = TRY(IptSession::open(place.family, place.table));
  return own_part(read_image(*session, place.family, place.table, detail));
}

/// As difference_of(), and entry by entry in the policies.
std::string first_difference(const IptImage& standing, const IptImage& wanted) {
  const IptChange change = difference_of(standing, wanted);
  if (!change.empty()) return change_text(standing, change);
  for (const auto& [name, rules] : wanted.chains)
    if (standing.chains.at(name) != rules) return fmt::format("chain '{}' holds other addresses than its lists", name);
  return {};
}

class LegacyVmTable final : public VmTableStore {
 public:
  explicit LegacyVmTable(UniqueFd ns) : ns_(std::move(ns)) {}

  Result<std::optional<std::string>> mark() override {
    const Visit visit = TRY(Visit::enter(ns_.get()));
    return standing_mark();
  }

  Result<void> put(const VmTableRules& rules, const std::function<Result<bool>()>& abandoned) override {
    const std::string action = fmt::format("write the rules of '{}'", rules.owner.alias);
    // Between here and the writing another attachment's DEL may come, which removes only what bears its own mark.
    const std::optional<std::string> standing = TRY(mark());
    if (standing && *standing != rules.owner.mark() && (!abandoned || !TRY(abandoned())))
      return foreign_vm_table(action + ": a table", *standing);
    const Visit visit = TRY(Visit::enter(ns_.get()));
    std::vector<IptPlace> places{kMangle4};
    if (is_family_there(Family::kIpv6)) places.insert(places.begin(), kMangle6);
    return change_places(
               places,
               [&](const IptImage& image) { return difference_of(own_part(image), wanted_of(image.family, rules)); })
        .context(action);
  }

  Result<void> check(const VmTableRules& rules, VmTableCheck what) override {
    const Visit visit = TRY(Visit::enter(ns_.get()));
    const std::string fault = TRY(fault_of(rules, what));
    if (fault.empty()) return {};
    return fail(Kind::kMismatch, fmt::format("check the rules of '{}' in table 'mangle': {}", rules.owner.alias, fault),
                "delete the attachment and add it again");
  }

  Result<void> remove(const std::string& mark) override {
    const Visit visit = TRY(Visit::enter(ns_.get()));
    std::vector<IptPlace> places;
    for (const IptPlace& place : {kMangle4, kMangle6}) {
      if (!is_in_use(place.family, place.table)) continue;
      const Result<IptImage> own = read_own(place, Detail::kNoPolicies);
      if (!own && own.error().kind == Kind::kUnsupportedKernel) continue;
      if (!own) return std::unexpected(own.error());
      if (mark_in(*own) == mark) places.push_back(place);
    }
    if (places.empty()) return {};
    return change_places(places,
                         [&](const IptImage& image) {
                           const IptImage own = own_part(image);
                           if (mark_in(own) != mark) return IptChange{};
                           return difference_of(own, {.family = own.family, .table = own.table});
                         })
        .context("remove the rules of an isolated VM");
  }

 private:
  /// IPv6 is written first and removed last: a killed call may have left it alone.
  static Result<std::optional<std::string>> standing_mark() {
    for (const IptPlace& place : {kMangle4, kMangle6}) {
      if (!is_in_use(place.family, place.table)) continue;
      const Result<IptImage> own = read_own(place, Detail::kNoPolicies);
      // Without libiptc nobody has written here; who has to write gets the error then.
      if (!own && own.error().kind == Kind::kUnsupportedKernel) continue;
      if (!own) return std::unexpected(own.error());
      if (std::optional<std::string> mark = mark_in(*own)) return mark;
    }
    return std::optional<std::string>{};
  }

  static Result<std::string> fault_of(const VmTableRules& rules, VmTableCheck what) {
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
      if (!is_family_there(family)) continue;
      const IptPlace place = family == Family::kIpv4 ? kMangle4 : kMangle6;
      if (!is_in_use(family, place.table)) return "it is gone";
      IptImage standing = TRY(read_own(place, Detail::kAll));
      const std::optional<std::string> mark = mark_in(standing);
      if (!mark) return "it is gone";
      if (*mark != rules.owner.mark()) return fmt::format("it belongs to '{}'", *mark);
      IptImage wanted = wanted_of(family, rules);
      if (family == Family::kIpv4 && !compares_lists(standing, rules, what)) {
        standing = without_lists(std::move(standing));
        wanted = without_lists(std::move(wanted));
      }
      if (std::string fault = first_difference(standing, wanted); !fault.empty()) return fault;
    }
    return std::string();
  }

  /// Where the host's addresses were others when the lists were written, their name is all that can be compared.
  static bool compares_lists(const IptImage& standing, const VmTableRules& rules, VmTableCheck what) {
    if (what == VmTableCheck::kConstants) return false;
    const std::string comment = lists_comment(standing);
    const VmListsMark wanted = lists_mark(rules);
    return what == VmTableCheck::kAll || comment == wanted.text() || !has_same_lists(comment, wanted) ||
           !leads_somewhere(standing);
  }

  /// The policy that the lists' chain leads to has its ends.
  static bool leads_somewhere(const IptImage& standing) {
    const auto chain = standing.chains.find(kLists);
    if (chain == standing.chains.end() || chain->second.size() != 2) return false;
    const std::string id = id_in_ipt_policy(chain->second.back().target);
    return std::ranges::all_of(std::array{ipt_policy_chain(id), ipt_drop_chain(id), ipt_pass_chain(id)},
                               [&](const std::string& name) {
                                 const auto found = standing.chains.find(name);
                                 return found != standing.chains.end() && !found->second.empty();
                               });
  }

  UniqueFd ns_;
};

}  // namespace

Result<std::unique_ptr<VmTableStore>> open_legacy_vm_table() {
  UniqueFd ns(open(kOwnNamespace, O_RDONLY | O_CLOEXEC));
  if (!ns.valid()) return fail_errno(errno, fmt::format("open '{}'", kOwnNamespace));
  return std::unique_ptr<VmTableStore>(std::make_unique<LegacyVmTable>(std::move(ns)));
}

Result<std::optional<PolicyInForce>> read_legacy_vm_policy() {
  if (!is_in_use(Family::kIpv4, IptTable::kMangle)) return std::optional<PolicyInForce>{};
  const auto session = TRY(IptSession::open(Family::kIpv4, IptTable::kMangle));
  const IptImage image = read_image(*session, Family::kIpv4, IptTable::kMangle, Detail::kAll);
  const auto lists = image.chains.find(kLists);
  if (lists == image.chains.end() || lists->second.empty()) return std::optional<PolicyInForce>{};
  PolicyInForce policy;
  add_ipt_policy(policy, *session, image, id_in_ipt_policy(lists->second.back().target));
  return std::optional(std::move(policy));
}

}  // namespace slicer::netfilter
