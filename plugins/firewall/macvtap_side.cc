#include "plugins/firewall/macvtap_side.h"

#include <algorithm>
#include <set>

#include "lib/net/link.h"
#include "lib/net/netns_find.h"

namespace slicer::firewall {
namespace {

netfilter::IsolationOwner owner_of(const cni::Attachment& attachment) {
  return {.network = attachment.network, .alias = attachment.alias()};
}

Result<netfilter::EgressTable> open_table(const net::Netns& ns) {
  const net::ScopedNetns inside = TRY(net::ScopedNetns::enter(ns));
  return netfilter::EgressTable::open();
}

/// A macvtap has nothing in the host's namespace.
bool may_be_macvtap(const cni::Request& request) {
  if (request.host_netns || !request.netns_present) return false;
  const auto& previous = request.conf.prev_result;
  return !previous ||
         std::ranges::none_of(previous->interfaces, [](const cni::Interface& one) { return one.sandbox.empty(); });
}

/// The table whose mark `is_it` accepts, and no other. A kernel without nf_tables has none.
template <class IsIt>
Result<void> remove_table_if(const net::Netns& ns, const IsIt& is_it) {
  Result<netfilter::EgressTable> table = open_table(ns);
  if (!table && table.error().kind == Kind::kUnsupportedKernel) return {};
  if (!table) return std::unexpected(table.error());
  const std::optional<std::string> mark = TRY(table->mark());
  if (!mark || !is_it(*mark)) return {};
  return table->remove();
}

Result<void> remove_owned(const net::Netns& ns, const netfilter::IsolationOwner& owner) {
  return remove_table_if(ns, [&](const std::string& mark) { return mark == owner.mark(); });
}

Result<bool> is_macvtap(const net::Netns& ns, const std::string& name) {
  net::RouteSocket routes = TRY(net::RouteSocket::open_in(ns));
  const std::optional<net::Link> link = TRY(net::find_link(routes, name));
  return link && link->kind == "macvtap";
}

}  // namespace

Result<std::optional<MacvtapSide>> find_macvtap_side(const cni::Request& request, const cni::Attachment& attachment,
                                                     const Config& config) {
  if (!request.conf.prev_result || !may_be_macvtap(request)) return std::nullopt;
  net::Netns ns = TRY(net::Netns::open(request.env.netns));
  if (!TRY(is_macvtap(ns, attachment.ifname))) return std::nullopt;
  if (config.backend == netfilter::BackendName::kIptables && config.restricts())
    return fail(Kind::kInvalidConfig, "\"backend\": \"iptables\" cannot keep \"drop\" and \"allow\" on a macvtap",
                "its packets pass no chain of iptables: use \"nftables\", or \"auto\" by leaving the key out");
  MacvtapSide side{.ns = std::move(ns), .rules = {.owner = owner_of(attachment), .device = attachment.ifname}};
  side.rules.policy = config.own ? *config.own : config.lists;
  if (config.log) side.rules.log_prefix = netfilter::log_prefix(config.network);
  return std::optional(std::move(side));
}

Result<void> ensure_macvtap_lists(const MacvtapSide& side) {
  if (side.rules.policy.allows_everything()) return remove_owned(side.ns, side.rules.owner);
  netfilter::EgressTable table = TRY(open_table(side.ns));
  if (table.check(side.rules)) return {};
  return table.put(side.rules);
}

Result<void> check_macvtap_lists(const MacvtapSide& side) {
  if (side.rules.policy.allows_everything()) return {};
  return TRY(open_table(side.ns)).check(side.rules);
}

Result<void> remove_macvtap_lists(const cni::Request& request, const cni::Attachment& attachment) {
  if (!may_be_macvtap(request)) return {};
  return remove_owned(TRY(net::Netns::open(request.env.netns)), owner_of(attachment));
}

Result<void> remove_stale_macvtap_lists(const std::string& network, const std::vector<cni::ValidAttachment>& valid) {
  std::set<std::string> known;
  for (const cni::ValidAttachment& one : valid)
    known.insert(owner_of({.network = network, .container_id = one.container_id, .ifname = one.ifname}).mark());
  const auto is_stale = [&](const std::string& mark) {
    return netfilter::is_mark_of_network(mark, network) && !known.contains(mark);
  };
  Result<void> first_error;
  for (const net::Netns& ns : net::list_named_netns())
    if (Result<void> done = remove_table_if(ns, is_stale); !done && first_error) first_error = std::move(done);
  return first_error;
}

}  // namespace slicer::firewall
