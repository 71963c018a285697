// The rules that keep isolated VMs away from the host: nobody misses them before the next ADD.

#include "lib/netfilter/isolation.h"

#include "lib/cni/attachment.h"
#include "lib/net/guest_bridge.h"
#include "runner/doctor/checks.h"

namespace slicer::runner::doctor {
namespace {

constexpr const char* kCheck = "isolation";

Result<std::vector<netfilter::ListedBridge>> bridges_with_vms(net::RouteSocket& host) {
  std::vector<netfilter::ListedBridge> bridges;
  for (net::GuestBridge& bridge : TRY(net::list_guest_bridges(host, cni::network_alias(""))))
    if (bridge.has_guests) bridges.push_back({.name = std::move(bridge.link), .network = std::move(bridge.network)});
  return bridges;
}

/// False: there is no isolated VM, so there need be no rules.
Result<bool> rules_stand() {
  net::RouteSocket host = TRY(net::RouteSocket::open());
  if (TRY(net::list_links(host, netfilter::kIsolatedLinks)).empty()) return false;
  TRY(netfilter::check_isolation(TRY(bridges_with_vms(host))));
  return true;
}

}  // namespace

void check_isolation(Findings& findings) {
  const Result<bool> standing = rules_stand();
  if (standing) return findings.ok(kCheck, *standing ? "the rules of isolated networks stand" : "no isolated VM");
  findings.fail(kCheck, standing.error().message, standing.error().hint);
}

}  // namespace slicer::runner::doctor
