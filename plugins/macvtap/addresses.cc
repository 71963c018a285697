#include "plugins/macvtap/addresses.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "ipam/client.h"
#include "lib/base/log.h"
#include "lib/net/arp_probe.h"
#include "lib/net/route.h"

namespace slicer::macvtap {
namespace {

using addr::Ip;

constexpr const char* kOwnIpam = "slicer-ipam";
constexpr const char* kProbeHint =
    "find out who it is; a router that answers for others (proxy ARP) needs \"probe\": false";

std::string text_of(const net::ArpClaim& conflict) {
  return fmt::format("address '{}' is in use on the LAN, by {}", conflict.ip.text(), conflict.mac.text());
}

/// The parent's; its macvtaps follow only after a while (net/core/link_watch.c).
Result<bool> has_carrier(Call& call, const net::Link& device) {
  const std::optional<net::Link> parent = TRY(net::find_link(call.host, device.peer_index));
  return !parent || parent->carrier;
}

/// IPv6 addresses are not asked for: the guest does that itself, by duplicate address detection.
Result<std::optional<net::ArpClaim>> find_conflict(Call& call, const net::Link& device,
                                                   const cni::CniResult& addresses) {
  if (!call.config.probe) return std::nullopt;
  if (!TRY(has_carrier(call, device))) {
    log_line(fmt::format("the LAN was not asked for the addresses of '{}': its parent has no carrier", device.name));
    return std::nullopt;
  }
  net::ArpProbe probe{.index = device.index, .mac = device.mac};
  for (const cni::IpConfig& each : addresses.ips)
    if (each.address.ip.is_v4()) probe.ips.push_back(each.address.ip);
  return net::probe_addresses(call.sandbox->ns, probe);
}

bool is_requested(const Call& call, const Ip& ip) {
  return std::ranges::find(call.requested, ip) != call.requested.end();
}

/// The pool may be empty only because of what others have.
Error with_conflicts(Error error, const std::set<Ip>& taken) {
  if (error.kind == Kind::kExhausted && !taken.empty())
    error.message += fmt::format(" ({} in use on the LAN, the last of them {})", taken.size(), taken.rbegin()->text());
  return error;
}

/// Asked outside of the store's lock: ADDs of other VMs do not wait for the LAN.
Result<cni::CniResult> reserve_own(Call& call, const net::Link& device) {
  std::set<Ip> taken;
  const ipam::Search search{.in_use = [&](const Ip& ip) -> Result<bool> {
    return taken.contains(ip) || TRY(net::is_own_address(call.host, ip));
  }};
  for (;;) {
    Result<cni::CniResult> addresses = ipam::add_checked(call.request, search);
    if (!addresses) return std::unexpected(with_conflicts(std::move(addresses).error(), taken));
    Undo undo;
    undo.push("release addresses", [&call] { return ipam::del(call.request); });
    const std::optional<net::ArpClaim> conflict = TRY(find_conflict(call, device, *addresses));
    undo.commit();
    if (!conflict) return addresses;
    TRY(ipam::give_up(call.request, conflict->ip));
    if (is_requested(call, conflict->ip))
      return fail(Kind::kExists, fmt::format("reserve the requested address: {}", text_of(*conflict)), kProbeHint);
    log_line(text_of(*conflict) + ", giving the next one");
    taken.insert(conflict->ip);
  }
}

Result<cni::CniResult> reserve_foreign(Call& call, const net::Link& device) {
  cni::CniResult addresses = TRY(ipam::add(call.request));
  Undo undo;
  undo.push("release addresses", [&call] { return ipam::del(call.request); });
  for (const cni::IpConfig& each : addresses.ips)
    if (TRY(net::is_own_address(call.host, each.address.ip)))
      return fail(Kind::kExists,
                  fmt::format("use address '{}' of IPAM '{}': it is the host's own", each.address.ip.text(),
                              call.request.conf.ipam_type),
                  "leave the host's addresses out of that plugin's pool");
  if (const std::optional<net::ArpClaim> conflict = TRY(find_conflict(call, device, addresses)))
    return fail(Kind::kExists,
                fmt::format("use what IPAM '{}' gave: {}", call.request.conf.ipam_type, text_of(*conflict)),
                "slicer-ipam would give the next one; or leave it out of that plugin's pool");
  undo.commit();
  return addresses;
}

}  // namespace

Result<cni::CniResult> reserve_addresses(Call& call, const net::Link& device, Undo& undo) {
  if (call.request.conf.ipam_type.empty()) return cni::CniResult{};
  cni::CniResult addresses =
      TRY(call.request.conf.ipam_type == kOwnIpam ? reserve_own(call, device) : reserve_foreign(call, device));
  undo.push("release addresses", [&call] { return ipam::del(call.request); });
  addresses.interfaces.clear();  // an IPAM has none to give (SPEC.md, section 4)
  return addresses;
}

}  // namespace slicer::macvtap
