// DEL and GC. Order: the redirect (with the TAP gone it would drop everything), the TAP, the address last (nobody else
// may get it while the guest could still use it).
#include <algorithm>

#include "ipam/client.h"
#include "lib/base/steps.h"
#include "lib/net/netns_find.h"
#include "plugins/tap/chained.h"
#include "plugins/tap/taken_over.h"
#include "plugins/tap/verbs.h"

namespace slicer::tap {
namespace {

Result<void> delete_own(Call& call) {
  if (!call.sandbox) return {};
  TRY(lock_sandbox(call));
  const std::vector<net::Link> taps = TRY(list_own_taps(call));
  std::vector<net::Link> sources;
  if (std::optional<net::Link> followed = TRY(net::find_link(call.sandbox->routes, call.attachment.ifname)))
    sources.push_back(std::move(*followed));
  Steps steps;
  steps.take(delete_chained(call.sandbox->routes, taps, sources));
  steps.take(delete_taken_over(call));
  return std::move(steps).end();
}

/// Whether an attachment of this network made it, and the runtime does not know that one.
bool is_stale(const net::Link& link, const std::string& network, const std::vector<cni::ValidAttachment>& valid) {
  if (!link.tun || !link.alias.starts_with(cni::Attachment{.network = network}.alias_prefix())) return false;
  return std::ranges::none_of(valid, [&](const cni::ValidAttachment& one) {
    return link.alias == cni::Attachment{network, one.container_id, one.ifname}.alias();
  });
}

Result<void> delete_stale_in(const net::Netns& ns, const std::string& network,
                             const std::vector<cni::ValidAttachment>& valid) {
  net::RouteSocket routes = TRY(net::RouteSocket::open_in(ns));
  std::vector<net::Link> links = TRY(net::list_links(routes, ""));
  const auto stale =
      std::ranges::stable_partition(links, [&](const net::Link& link) { return !is_stale(link, network, valid); });
  if (stale.empty()) return {};
  const std::vector<net::Link> taps(stale.begin(), stale.end());
  links.erase(stale.begin(), stale.end());
  return delete_chained(routes, taps, links);
}

}  // namespace

Result<void> del(const cni::Request& request) {
  Call call = TRY(open_cleanup_call(request));
  Steps steps;
  steps.take(delete_own(call));
  steps.take(ipam::del(request));
  return std::move(steps).end();
}

Result<void> gc(const cni::Request& request) {
  if (!request.conf.valid_attachments) return {};  // no list is no information
  Steps steps;
  for (const net::Netns& ns : net::list_named_netns())
    steps.take(delete_stale_in(ns, request.conf.name, *request.conf.valid_attachments));
  steps.take(ipam::gc(request));
  return std::move(steps).end();
}

}  // namespace slicer::tap
