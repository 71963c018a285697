#include "runner/networks/policy_view.h"

#include <algorithm>

#include "lib/cni/attachment.h"
#include "runner/chain/conflist.h"

namespace slicer::runner {
namespace {

bool is_isolated(const VmRecord& record) {
  const Result<chain::Conflist> network = chain::parse_conflist(record.conflist, "state of VM '" + record.name + "'");
  return network && !network->plugins.empty() && network->plugins.front().type == "slicer-isolated";
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
  if (is_isolated(record))
    return fail(Kind::kUnsupportedField,
                "read the lists in force of VM '" + record.name + "': it is isolated, and they stand in its namespace",
                "nsenter --net=" + record.netns + " nft list table inet slicer-vm");
  return policy_on_host(record);
}

}  // namespace slicer::runner
