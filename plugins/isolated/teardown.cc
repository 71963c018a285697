// DEL and GC. Order: links first (the guest is cut off at once, and with them go routes and neighbours), then rules,
// the address last (nobody else may get it while the guest could still use it).
#include <algorithm>

#include "ipam/client.h"
#include "lib/base/steps.h"
#include "plugins/isolated/blocks.h"
#include "plugins/isolated/guest_side.h"
#include "plugins/isolated/verbs.h"

namespace slicer::isolated {
namespace {

/// Whether GC may remove the link: an attachment of this network made it, and the runtime does not know that one.
bool is_stale(const net::Link& link, const cni::Attachment& network, const std::vector<cni::Attachment>& valid) {
  if (link.kind != "veth") return false;
  // A process killed after the creating message has not set the alias: the name alone says whose it is.
  const bool named = link.alias.starts_with(network.alias_prefix());
  if (!named && !link.alias.empty()) return false;
  return std::ranges::none_of(valid, [&](const cni::Attachment& one) {
    return named ? link.alias == one.alias() : link.name == one.kernel_name('s');
  });
}

/// The group of the links behind a host end that tells its attachment by no more than its alias.
std::optional<uint32_t> group_behind(net::RouteSocket& host, const net::Link& link) {
  if (!link.peer_netnsid) return std::nullopt;
  const Result<std::optional<net::Link>> peer = net::find_link_in(host, *link.peer_netnsid, link.peer_index);
  if (!peer || !*peer || (*peer)->group == 0) return std::nullopt;
  return (*peer)->group;
}

std::vector<cni::Attachment> valid_attachments(const Call& call) {
  std::vector<cni::Attachment> valid;
  for (const cni::ValidAttachment& one : *call.request.conf.valid_attachments)
    valid.push_back({.network = call.attachment.network, .container_id = one.container_id, .ifname = one.ifname});
  return valid;
}

void delete_stale_links(Call& call, const std::vector<cni::Attachment>& valid, Steps& steps) {
  const Result<std::vector<net::Link>> links = net::list_links(call.host, call.attachment.kernel_name_prefix('s'));
  if (!links) return steps.take(std::unexpected(links.error()));
  for (const net::Link& link : *links)
    if (is_stale(link, call.attachment, valid)) steps.take(delete_pair(call.host, link, group_behind(call.host, link)));
}

Result<void> close_stale_openings(Call& call, const std::vector<cni::Attachment>& valid) {
  std::vector<netfilter::IsolationOwner> owners;
  for (const cni::Attachment& one : valid) owners.push_back({.network = one.network, .alias = one.alias()});
  return netfilter::close_stale_host_addresses(call.attachment.network, owners);
}

}  // namespace

Result<void> del(const cni::Request& request) {
  Call call = TRY(open_cleanup_call(request));
  Steps steps;
  steps.take(find_sandbox(call));
  steps.take(delete_links(call));
  steps.take(remove_rules(call));
  steps.take(netfilter::close_host_addresses(call.rule_owner()));
  steps.take(ipam::del(ipam_request(call)));
  return std::move(steps).end();
}

Result<void> gc(const cni::Request& request) {
  if (!request.conf.valid_attachments) return {};  // no list is no information
  Call call = TRY(open_cleanup_call(request));
  const std::vector<cni::Attachment> valid = valid_attachments(call);
  Steps steps;
  delete_stale_links(call, valid, steps);
  steps.take(remove_stale_rules(call.attachment.network, valid));
  steps.take(close_stale_openings(call, valid));
  steps.take(ipam::gc(ipam_request(call)));
  return std::move(steps).end();
}

}  // namespace slicer::isolated
