#include "runner/networks/policy_view.h"

#include <algorithm>

#include "lib/cni/attachment.h"
#include "lib/net/link.h"
#include "lib/net/netns.h"
#include "lib/netfilter/vm_policy.h"

namespace slicer::runner {
namespace {

// Those of an isolated VM and of one on a macvtap stand in its namespace.
Result<PolicyView> policy_in_namespace(const VmRecord& record) {
  PolicyView view;
  if (record.placement != Placement::kPrivate) return view;
  const net::Netns sandbox = TRY(net::Netns::open(record.netns));
  net::RouteSocket session = TRY(net::RouteSocket::open_in(sandbox));
  const net::Link tap = TRY(net::get_link(session, record.tap));
  view.scope = tap.kind == "macvtap" ? PolicyScope::kLink : PolicyScope::kNamespace;
  const net::ScopedNetns inside = TRY(net::ScopedNetns::enter(sandbox));
  view.policy = TRY(netfilter::read_vm_policy());
  return view;
}

Result<PolicyView> policy_on_host(const VmRecord& record) {
  netfilter::PoliciesInForce in_force =
      TRY(TRY(netfilter::make_backend("auto"))->list_policies(record.network).context("read the lists in force"));
  const cni::Attachment attachment{.network = record.network, .container_id = record.name, .ifname = record.ifname};
  const std::string mark = netfilter::vm_mark(attachment.alias());
  const auto own = std::ranges::find(in_force.vms, mark, &netfilter::VmInForce::owner);
  PolicyView view;
  if (own != in_force.vms.end()) {
    view.scope = PolicyScope::kVm;
    view.policy = std::move(in_force.policies[own->policy]);
  } else if (in_force.lists) {
    view.policy = std::move(in_force.policies[*in_force.lists]);
  }
  return view;
}

// How many gaps there are in what is dropped of the IPv4 addresses, where that is most of them.
std::optional<std::ptrdiff_t> gaps_of_closed(const netfilter::CompiledPolicy& lists) {
  constexpr addr::Uint128 kAll = addr::Uint128{1} << 32U;
  addr::Uint128 next = 0;
  addr::Uint128 dropped = 0;
  std::ptrdiff_t gaps = 0;
  for (const netfilter::AddressVerdict& each : lists.addresses) {  // in order, without overlaps
    if (each.verdict != netfilter::PolicyVerdict::kDrop || !each.addresses.first.is_v4()) continue;
    const addr::Uint128 first = each.addresses.first.value();
    if (first > next) ++gaps;
    next = each.addresses.last.value() + 1;
    dropped += next - first;
  }
  if (dropped < kAll / 2) return std::nullopt;
  return next < kAll ? gaps + 1 : gaps;
}

}  // namespace

Result<PolicyView> policy_of(const VmRecord& record) {
  if (!is_alive(record))
    return fail(Kind::kUnavailable, "VM '" + record.name + "' does not run", "slicer-run gc removes what it left");
  PolicyView view = TRY(policy_in_namespace(record).context("read the lists in force of VM '" + record.name + "'"));
  if (view.policy) return view;
  return policy_on_host(record);
}

std::string policy_summary(const PolicyView& view) {
  if (!view.policy) return "no lists";
  const netfilter::CompiledPolicy& lists = view.policy->policy;
  const std::optional<std::ptrdiff_t> gaps =
      lists.fallback == netfilter::PolicyVerdict::kAllow ? gaps_of_closed(lists) : std::nullopt;
  const auto rest = gaps ? netfilter::PolicyVerdict::kDrop : lists.fallback;
  const auto differs = [&](const auto& entry) { return entry.verdict != rest; };
  const bool closed = rest == netfilter::PolicyVerdict::kDrop;
  const auto exceptions =
      (gaps ? *gaps : std::ranges::count_if(lists.addresses, differs)) + std::ranges::count_if(lists.ports, differs);
  std::string text = closed ? "drop all" : "allow all";
  if (exceptions != 0) text += " but " + std::to_string(exceptions);
  return text + (view.scope == PolicyScope::kVm ? ", by its own lists" : "");
}

}  // namespace slicer::runner
