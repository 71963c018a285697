// The rules that keep isolated VMs away from the host: nobody misses them before the next ADD.

#include "lib/netfilter/isolation.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/cni/attachment.h"
#include "lib/net/guest_bridge.h"
#include "lib/net/route.h"
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

/// The link of the host's default route when nothing of isolated VMs' is forwarded to it.
Result<std::string> find_closed_way_out() {
  net::RouteSocket host = TRY(net::RouteSocket::open());
  const std::optional<int> device = TRY(net::find_default_device(host, addr::Family::kIpv4));
  if (!device) return std::string();
  const std::optional<net::Link> link = TRY(net::find_link(host, *device));
  return link && TRY(netfilter::is_closed_to_isolated(link->name)) ? link->name : std::string();
}

void check_way_out(Findings& findings) {
  const Result<std::string> closed = find_closed_way_out();
  if (!closed) return findings.fail(kCheck, closed.error().message, closed.error().hint);
  if (closed->empty()) return;
  findings.fail(
      kCheck,
      fmt::format("isolated VMs have no way out: the host's default route leaves by '{}', which is a bridge of "
                  "VMs or called sl…, and closed to them",
                  *closed),
      "give slicer-bridge a bridge of its own, which the uplink is no port of, and move its VMs there; then "
      "slicer-run network rm the old network");
}

}  // namespace

void check_isolation(const std::vector<CheckedNetwork>& networks, Findings& findings) {
  const Result<bool> standing = rules_stand();
  const bool wanted = std::ranges::any_of(
      networks, [](const CheckedNetwork& checked) { return checked.facts.main_plugin == "slicer-isolated"; });
  if (wanted || standing.value_or(true)) check_way_out(findings);
  if (standing) return findings.ok(kCheck, *standing ? "the rules of isolated networks stand" : "no isolated VM");
  findings.fail(kCheck, standing.error().message, standing.error().hint);
}

}  // namespace slicer::runner::doctor
