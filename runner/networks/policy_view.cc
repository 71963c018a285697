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
  const bool closed = lists.fallback == netfilter::PolicyVerdict::kDrop;
  const auto differs = [&](const auto& entry) { return entry.verdict != lists.fallback; };
  const auto exceptions = std::ranges::count_if(lists.addresses, differs) + std::ranges::count_if(lists.ports, differs);
  std::string text = closed ? "drop all" : "allow all";
  if (exceptions != 0) text += " but " + std::to_string(exceptions);
  return text + (view.scope == PolicyScope::kVm ? ", by its own lists" : "");
}

}  // namespace slicer::runner
