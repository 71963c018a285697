#include "plugins/macvtap/parent.h"

#include <fmt/core.h>

#include "lib/net/route.h"
#include "lib/net/wireless.h"

namespace slicer::macvtap {
namespace {

std::string use(const net::Link& parent) { return fmt::format("use '{}' as \"parent\"", parent.name); }

Result<net::Link> named_parent(Call& call) {
  std::optional<net::Link> link = TRY(net::find_link(call.host, call.config.parent));
  if (link) return std::move(*link);
  return fail(Kind::kNotFound, fmt::format("use '{}' as \"parent\": there is no such link", call.config.parent),
              "see `ip link` for the host's interfaces; leave the key out for that of the default route");
}

Result<net::Link> default_parent(Call& call) {
  for (const addr::Family family : {addr::Family::kIpv4, addr::Family::kIpv6}) {
    const std::optional<int> device = TRY(net::find_default_device(call.host, family));
    if (!device) continue;
    if (std::optional<net::Link> link = TRY(net::find_link(call.host, *device))) return std::move(*link);
  }
  return fail(Kind::kNotFound, "choose \"parent\": the host has no default route, neither IPv4 nor IPv6",
              "set \"parent\" to the host's interface on the LAN (see `ip link`)");
}

/// What may be a parent in place of a link that has this master, which is no bridge.
std::string instead_of_port(const net::Link& parent, const net::Link& master) {
  if (master.kind == "bond" || master.kind == "team") return fmt::format("set \"parent\": \"{}\"", master.name);
  const std::string other = "set \"parent\" to an interface that has no master";
  if (master.kind == "vrf")  // a link of IP packets, not of frames: it carries no macvtap
    return fmt::format("{}, or take this one out of the VRF: ip link set {} nomaster", other, parent.name);
  if (master.kind == "openvswitch")  // its master is the datapath: the bridge's name is known to ovsdb alone
    return fmt::format(
        "set \"parent\" to an internal port of the same switch: ovs-vsctl add-port $(ovs-vsctl port-to-br {}) vms0 -- "
        "set "
        "Interface vms0 type=internal; ip link set vms0 up; then \"parent\": \"vms0\"",
        parent.name);
  return other;
}

Result<void> refuse_master(Call& call, const net::Link& parent) {
  if (parent.master == 0) return {};
  const std::optional<net::Link> master = TRY(net::find_link(call.host, parent.master));
  if (!master) return {};
  if (master->kind == "bridge")
    return fail(Kind::kInvalidConfig, fmt::format("{}: it is a port of bridge '{}'", use(parent), master->name),
                fmt::format("set \"parent\": \"{0}\", or use slicer-bridge with \"bridge\": \"{0}\"", master->name));
  return fail(Kind::kInvalidConfig, fmt::format("{}: its master is '{}' ({})", use(parent), master->name, master->kind),
              instead_of_port(parent, *master));
}

Result<void> refuse_unfit(const net::Link& parent) {
  const std::string other =
      "set \"parent\" to an Ethernet interface of the LAN, or use slicer-isolated or slicer-bridge";
  if (!parent.ethernet)
    return fail(Kind::kInvalidConfig,
                fmt::format("{}: it is no Ethernet interface{}", use(parent),
                            parent.kind.empty() ? "" : fmt::format(" but of kind '{}'", parent.kind)),
                other);
  const net::Netns host = TRY(net::Netns::current());
  if (TRY(net::is_wireless(host, parent)))
    return fail(Kind::kInvalidConfig,
                fmt::format("{}: it is wireless, and an access point takes no frames from a VM's MAC", use(parent)),
                other);
  return {};
}

}  // namespace

Result<net::Link> find_parent(Call& call) {
  net::Link parent = TRY(call.config.parent.empty() ? default_parent(call) : named_parent(call));
  TRY(refuse_unfit(parent));
  TRY(refuse_master(call, parent));
  if (!parent.up)
    return fail(Kind::kBusy, fmt::format("{}: it is down", use(parent)), fmt::format("ip link set {} up", parent.name));
  if (call.config.mtu_bytes > parent.mtu_bytes)
    return fail(
        Kind::kInvalidConfig,
        fmt::format("\"mtu\": {} is above the {} of parent '{}'", call.config.mtu_bytes, parent.mtu_bytes, parent.name),
        "use 0 or leave the key out for the parent's MTU");
  return parent;
}

}  // namespace slicer::macvtap
