#include "plugins/bridge/guest_port.h"

#include <fmt/core.h>

#include <algorithm>

#include "lib/net/bridge_port.h"
#include "lib/net/neighbour.h"
#include "lib/net/sysctl.h"
#include "lib/net/tc_guard.h"

namespace slicer::bridge {
namespace {

// The VLAN that every port has at first (IEEE 802.1Q's default PVID).
constexpr uint16_t kDefaultVlan = 1;

bool is_pinned(const Config& config) { return config.device == Device::kTap || config.guard_mac; }

/// slicer-firewall has segregated the bridge (docs/slicer-firewall.md, "VM to VM"), maybe for another network: it marks
/// the bridge and then isolates the ports that are there, so one that reads the mark as a port is not forgotten.
Result<bool> is_segregated(const Config& config) {
  const Result<std::string> mark = net::read_sysctl(nullptr, "net/ipv4/conf/" + config.bridge + "/proxy_arp_pvlan");
  if (!mark && mark.error().kind == Kind::kNotFound) return false;
  if (!mark) return std::unexpected(mark.error());
  return *mark == "1";
}

net::PortFlags flags_of(const Config& config, bool segregated) {
  net::PortFlags flags;
  if (config.port_isolation || segregated) flags.isolated = true;
  if (config.guard_mac) flags.locked = true;
  if (config.hairpin) flags.hairpin = true;
  return flags;
}

net::PortGuest port_guest(const Config& config, const Bridge& bridge, int port, const GuestPlan& guest) {
  net::PortGuest entry{.port = port, .bridge = bridge.index, .mac = guest.mac};
  // The host speaks to a VLAN's guests by another link, which learns them as any host does.
  if (bridge.gateway_index == bridge.index) entry.ips = guest.ips;
  if (config.vlan != 0) entry.vlan = config.vlan;
  return entry;
}

/// Two guests with one MAC would take each other's frames. A hashed MAC is nobody else's.
Result<void> refuse_taken_mac(Call& call, const Bridge& bridge, const GuestPlan& guest) {
  if (!call.config.mac) return {};
  const std::optional<uint16_t> vlan = call.config.vlan != 0 ? std::optional(call.config.vlan) : std::nullopt;
  if (!TRY(net::find_fdb_port(call.host, bridge.index, guest.mac, vlan))) return {};
  return fail(Kind::kExists,
              fmt::format("attach a guest with the MAC '{}' to bridge '{}': another port has it", guest.mac.text(),
                          call.config.bridge),
              "ask for another MAC, or remove the attachment that has it");
}

/// Each network's IPAM knows of its own attachments only. The kernel's entry on the bridge is the one place where all
/// meet.
Error explain_taken(const Call& call, Error error) {
  error.message =
      fmt::format("attach '{}' to bridge '{}': {}", call.attachment.ifname, call.config.bridge, error.message);
  error.hint = "give networks on one bridge separate ranges, or a bridge each";
  return error;
}

/// What a port is to be in: one VLAN untagged, and a trunk's tagged.
std::vector<net::PortVlan> vlans_of(uint16_t native, const std::vector<VlanRange>& tagged) {
  std::vector<net::PortVlan> vlans;
  if (native != 0) vlans.push_back({.id = native, .pvid = true, .untagged = true});
  const auto add = [&](unsigned first, unsigned last) {
    if (first <= last) vlans.push_back({.id = static_cast<uint16_t>(first), .last = static_cast<uint16_t>(last)});
  };
  for (const VlanRange& range : tagged) {
    if (native < range.first || native > range.last) {
      add(range.first, range.last);
      continue;
    }
    add(range.first, native - 1U);
    add(native + 1U, range.last);
  }
  return vlans;
}

std::vector<net::PortVlan> guest_vlans(const Config& config) { return vlans_of(config.native_vlan(), config.trunk); }

/// Out of the VLANs that the bridge has put the port in (its vlan_default_pvid, mostly 1), then into its own.
Result<void> set_vlans(Call& call, int port, const std::vector<net::PortVlan>& vlans) {
  if (!call.config.keeps_default_vlan())
    for (const net::PortVlan& given : TRY(net::list_vlans(call.host, port)))
      TRY(net::delete_vlan(call.host, port, given));
  for (const net::PortVlan& vlan : vlans) TRY(net::add_vlan(call.host, port, vlan));
  return {};
}

Error mismatch(const std::string& what, const std::string& cause) {
  return {.kind = Kind::kMismatch,
          .message = fmt::format("check {}: {}", what, cause),
          .hint = "delete the attachment and add it again"};
}

}  // namespace

Result<void> set_access_vlan(Call& call, int port) { return set_vlans(call, port, vlans_of(call.config.vlan, {})); }

namespace {

/// Whether the port has the VLANs of one wanted entry, as the kernel may have merged or split them.
bool covers(const std::vector<net::PortVlan>& present, const net::PortVlan& wanted) {
  const uint16_t last = std::max(wanted.id, wanted.last);
  for (unsigned id = wanted.id; id <= last; ++id) {
    const bool found = std::ranges::any_of(present, [&](const net::PortVlan& one) {
      return one.id <= id && id <= std::max(one.id, one.last) && one.pvid == wanted.pvid &&
             one.untagged == wanted.untagged;
    });
    if (!found) return false;
  }
  return true;
}

Result<void> check_port_vlans(Call& call, int port, const std::string& what) {
  const Config& config = call.config;
  if (!config.uses_vlans()) return {};
  const std::vector<net::PortVlan> present = TRY(net::list_vlans(call.host, port));
  const std::vector<net::PortVlan> wanted = guest_vlans(config);
  for (const net::PortVlan& vlan : wanted)
    if (!covers(present, vlan)) return std::unexpected(mismatch(what, fmt::format("not in VLAN {}", vlan.id)));
  const bool wants_default = std::ranges::any_of(wanted, [](auto& one) { return one.id == kDefaultVlan; });
  if (!config.keeps_default_vlan() && !wants_default)
    for (const net::PortVlan& vlan : present)
      if (vlan.id == kDefaultVlan)
        return std::unexpected(mismatch(what, fmt::format("still in VLAN {}", kDefaultVlan)));
  return {};
}

}  // namespace

Result<void> attach_guest(Call& call, const Bridge& bridge, int port, const GuestPlan& guest, Undo& undo) {
  if (call.config.uses_vlans()) TRY(set_vlans(call, port, guest_vlans(call.config)));
  const net::PortFlags flags = flags_of(call.config, TRY(is_segregated(call.config)));
  if (!is_pinned(call.config)) return net::set_port_flags(call.host, port, flags);
  TRY(refuse_taken_mac(call, bridge, guest));
  net::PortGuest entry = port_guest(call.config, bridge, port, guest);
  entry.flags = flags;
  undo.push("remove guest's entries", [&call, entry] { return net::remove_port_guest(call.host, entry); });
  Result<void> attached = net::attach_port_guest(call.host, entry);
  if (!attached && attached.error().kind == Kind::kExists)
    return std::unexpected(explain_taken(call, attached.error()));
  return attached;
}

Result<void> check_guest(Call& call, const Bridge& bridge, int port, const GuestPlan& guest) {
  const Config& config = call.config;
  const std::string what = fmt::format("port of '{}' on bridge '{}'", call.attachment.ifname, config.bridge);
  const net::PortFlags flags = TRY(net::get_port_flags(call.host, port));
  // Not set as read: the kernel does not know the flag, so ADD could not set it either.
  const bool isolated = config.port_isolation || TRY(is_segregated(config));
  if (isolated && !flags.isolated.value_or(true)) return std::unexpected(mismatch(what, "not isolated"));
  if (config.guard_mac && !flags.locked.value_or(true)) return std::unexpected(mismatch(what, "not locked"));
  if (config.hairpin && !flags.hairpin.value_or(true)) return std::unexpected(mismatch(what, "hairpin mode is off"));
  TRY(check_port_vlans(call, port, what));
  if (!is_pinned(config)) return {};
  const net::PortGuest entry = port_guest(config, bridge, port, guest);
  if (TRY(net::find_fdb_port(call.host, bridge.index, guest.mac, entry.vlan)) != port)
    return std::unexpected(mismatch(what, fmt::format("no forwarding entry for '{}'", guest.mac.text())));
  for (const addr::Ip& ip : entry.ips) {
    const std::optional<net::Neighbour> found = TRY(net::find_neighbour(call.host, bridge.index, ip));
    if (!found || !found->permanent || found->mac != guest.mac)
      return std::unexpected(mismatch(what, fmt::format("no permanent neighbour entry for '{}'", ip.text())));
  }
  return {};
}

Result<void> guard_guest(net::RouteSocket& ns, int index, const Config& config, const GuestPlan& guest) {
  if (!config.guard_mac) return {};
  return net::ensure_guard(
      ns, index, {.mac = guest.mac, .sources = guest.ips, .check_sources = config.guard_ip && !guest.ips.empty()});
}

Result<void> check_guard(net::RouteSocket& ns, const net::Link& link, const Config& config, const GuestPlan& guest) {
  if (!config.guard_mac) return {};
  const net::GuardSpec spec{
      .mac = guest.mac, .sources = guest.ips, .check_sources = config.guard_ip && !guest.ips.empty()};
  if (TRY(net::has_guard(ns, link.index, spec))) return {};
  return std::unexpected(mismatch(fmt::format("anti-spoofing filter on '{}'", link.name), "absent or changed"));
}

}  // namespace slicer::bridge
