// DEL and GC. Order: links first (the guest is cut off at once), then what they leave behind, the address last (nobody
// else may get it while the guest could still use it).
#include <algorithm>

#include "ipam/client.h"
#include "lib/base/steps.h"
#include "lib/net/bridge_port.h"
#include "plugins/bridge/host_tap.h"
#include "plugins/bridge/host_veth.h"
#include "plugins/bridge/rate.h"
#include "plugins/bridge/taken_over.h"
#include "plugins/bridge/upstream_rules.h"
#include "plugins/bridge/verbs.h"

namespace slicer::bridge {
namespace {

/// Neighbour entries of guests that are gone: those just deleted, and those of a DEL that was killed in between.
Result<void> delete_dead_neighbours(Call& call) {
  const std::optional<int> bridge = TRY(net::find_link_index(call.host, call.config.bridge));
  if (!bridge) return {};
  (void)TRY(net::remove_dead_neighbours(call.host, *bridge));
  return {};
}

/// Whether GC may remove the link: an attachment of this network made it, and the runtime does not know that one.
bool is_stale(const net::Link& link, const cni::Attachment& network, const std::vector<cni::ValidAttachment>& valid) {
  const bool named = link.alias.starts_with(network.alias_prefix());
  // A process killed after the creating message of a veth or an ifb has not set the alias: its name alone says whose.
  const char role = link.kind == "ifb" ? 'i' : 'v';
  const bool unnamed = link.alias.empty() && (link.kind == "veth" || link.kind == "ifb") &&
                       link.name.starts_with(network.kernel_name_prefix(role));
  if (!named && !unnamed) return false;
  return std::none_of(valid.begin(), valid.end(), [&](const cni::ValidAttachment& one) {
    const cni::Attachment attachment{
        .network = network.network, .container_id = one.container_id, .ifname = one.ifname};
    return named ? link.alias == attachment.alias() : link.name == attachment.kernel_name(role);
  });
}

/// The group of the links behind a host end that no longer knows its attachment by more than its alias.
std::optional<uint32_t> group_behind(net::RouteSocket& host, const net::Link& link) {
  if (!link.peer_netnsid) return std::nullopt;
  const Result<std::optional<net::Link>> peer = net::find_link_in(host, *link.peer_netnsid, link.peer_index);
  if (!peer || !*peer || (*peer)->group == 0) return std::nullopt;
  return (*peer)->group;
}

Result<void> delete_stale(net::RouteSocket& host, const net::Link& link) {
  if (link.kind == "veth")
    if (const std::optional<uint32_t> group = group_behind(host, link)) return delete_pair(host, link, *group);
  return net::delete_link(host, link.index, net::DeleteWait::kNotice);
}

}  // namespace

Result<void> del(const cni::Request& request) {
  Call call = TRY(open_cleanup_call(request));
  Steps steps;
  const Result<bool> ours = has_host_end(call);
  steps.take(delete_inside(call));
  steps.take(delete_host_end(call));
  steps.take(delete_host_tap(call));
  steps.take(delete_ifb(call));
  steps.take(delete_taken_over(call));
  steps.take(delete_dead_neighbours(call));
  if (!ours.value_or(false)) steps.take(delete_upstream_rules(call));
  steps.take(ipam::del(request));
  return std::move(steps).end();
}

Result<void> gc(const cni::Request& request) {
  if (!request.conf.valid_attachments) return {};  // no list is no information
  Call call = TRY(open_cleanup_call(request));
  Steps steps;
  const Result<std::vector<net::Link>> links = net::list_links(call.host, "");
  if (links) {
    for (const net::Link& link : *links)
      if (is_stale(link, call.attachment, *request.conf.valid_attachments)) steps.take(delete_stale(call.host, link));
  } else {
    steps.take(std::unexpected(links.error()));
  }
  steps.take(delete_dead_neighbours(call));
  steps.take(delete_upstream_rules(call));
  steps.take(ipam::gc(request));
  return std::move(steps).end();
}

}  // namespace slicer::bridge
