#include "plugins/bridge/network_rules.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "lib/base/log.h"
#include "lib/cni/repeated.h"
#include "lib/net/bridge_port.h"
#include "lib/net/sysctl.h"
#include "lib/netfilter/backend.h"
#include "plugins/bridge/vlan_gateway.h"

namespace slicer::bridge {
namespace {

netfilter::NetworkRules rules_of(const Call& call, const Bridge& bridge, const cni::CniResult& result) {
  netfilter::NetworkRules rules{.network = call.attachment.network, .listed_bridge = gateway_link(call.config)};
  // Isolated ports keep frames apart; by the gateway's MAC one VM would reach the other all the same.
  if (call.config.port_isolation && call.config.is_gateway)
    rules.closed_bridge = netfilter::ClosedBridge{.name = call.config.bridge, .mac = bridge.mac};
  if (call.config.ip_masq)
    for (const cni::IpConfig& ip : result.ips) rules.masquerade.push_back(ip.address.network());
  return rules;
}

bool has_family(const cni::CniResult& result, addr::Family family) {
  return std::any_of(result.ips.begin(), result.ips.end(),
                     [&](const cni::IpConfig& ip) { return ip.address.family() == family; });
}

/// Links of attachments, which are made after the rules. `everything`: of any network.
Result<bool> has_attachments(Call& call, bool everything) {
  const std::string prefix = everything ? cni::network_alias("") : call.attachment.alias_prefix();
  // Isolated ones may have all their rules in the legacy tables.
  const bool no_isolated = everything && netfilter::has_legacy_tables();
  for (const net::Link& link : TRY(net::list_links(call.host, ""))) {
    if (!link.alias.starts_with(prefix) || link.alias.find('/') == std::string::npos) continue;
    if (!no_isolated || !link.name.starts_with(netfilter::kIsolatedLinks)) return true;
  }
  return false;
}

/// Nothing of the network stood before this call: it all goes, unless another call of the network was faster to attach.
void undo_rules(Call& call, Undo& undo) {
  undo.push("remove network's rules", [&call]() -> Result<void> {
    const auto alone = TRY(netfilter::IsolationLock::acquire(netfilter::IsolationLock::Use::kRemoval));
    if (TRY(has_attachments(call, false))) return {};
    return TRY(netfilter::make_backend_for("ipMasqBackend", call.config.masq_backend))->remove(call.attachment.network);
  });
}

}  // namespace

Result<netfilter::IsolationLock> ensure_network_rules(Call& call, const Bridge& bridge, const cni::CniResult& result,
                                                      Undo& undo) {
  const auto backend = TRY(netfilter::make_backend_for("ipMasqBackend", call.config.masq_backend));
  auto lock = TRY(netfilter::IsolationLock::acquire(netfilter::IsolationLock::Use::kAdd));
  // The attachment of a repeated ADD proves nothing: whoever repeats it knows.
  netfilter::LossWatch watch{.evidence = [&call](bool everything) { return has_attachments(call, everything); }};
  bool asked = false;
  watch.before_write = [&]() -> Result<void> {
    if (std::exchange(asked, true)) return {};
    if (!TRY(netfilter::has_network_rules(call.attachment.network))) undo_rules(call, undo);
    return {};
  };
  TRY(backend->ensure_watched(rules_of(call, bridge, result), cni::is_repeated(call.request.conf) ? nullptr : &watch));
  if (watch.lost) log_line(netfilter::loss_text(call.attachment.network));
  return lock;
}

Result<void> ensure_forwarding(const Call& call, const cni::CniResult& result) {
  if (!call.config.is_gateway) return {};
  for (const addr::Family family : {addr::Family::kIpv4, addr::Family::kIpv6})
    if (has_family(result, family)) TRY(net::ensure_forwarding(nullptr, family, net::kSysctlFile));
  return {};
}

Result<void> check_network_rules(Call& call, const Bridge& bridge, const cni::CniResult& result) {
  const auto backend = TRY(netfilter::make_backend_for("ipMasqBackend", call.config.masq_backend));
  TRY(backend->check(rules_of(call, bridge, result)));
  if (!call.config.is_gateway) return {};
  for (const addr::Family family : {addr::Family::kIpv4, addr::Family::kIpv6}) {
    if (!has_family(result, family) || TRY(net::is_forwarding(family))) continue;
    const char* name = family == addr::Family::kIpv4 ? "net.ipv4.ip_forward" : "net.ipv6.conf.all.forwarding";
    return fail(Kind::kMismatch, fmt::format("check forwarding: '{}' is 0", name), fmt::format("sysctl -w {}=1", name));
  }
  return {};
}

}  // namespace slicer::bridge
