#include "runner/map/vm_path.h"

#include <algorithm>
#include <array>

#include "lib/net/link.h"
#include "lib/net/macvtap.h"
#include "lib/net/netns.h"

namespace slicer::runner {
namespace {

std::string mode_name(uint32_t mode) {
  constexpr std::array<std::pair<net::MacvlanMode, const char*>, 4> kNames = {{
      {net::MacvlanMode::kPrivate, "private"},
      {net::MacvlanMode::kVepa, "vepa"},
      {net::MacvlanMode::kBridge, "bridge"},
      {net::MacvlanMode::kPassthru, "passthru"},
  }};
  for (const auto& [value, name] : kNames)
    if (static_cast<uint32_t>(value) == mode) return name;
  return "";
}

void note_tap(const net::Link& tap, VmPath& path) {
  path.tap = tap.name;
  path.tap_kind = tap.kind == "tun" ? "tap" : tap.kind;
  path.mtu_bytes = tap.mtu_bytes;
  path.up = tap.up;
  if (tap.macvlan_mode) path.mode = mode_name(*tap.macvlan_mode);
}

// A link of the host and what it is a port of.
Result<void> note_host_link(net::RouteSocket& host, const net::Link& link, VmPath& path) {
  path.host_link = link.name;
  path.anchor_kind = AnchorKind::kRouted;
  if (link.master == 0) return {};
  if (const std::optional<net::Link> master = TRY(net::find_link(host, link.master))) {
    path.anchor_kind = AnchorKind::kBridge;
    path.anchor = master->name;
  }
  return {};
}

Result<void> note_parent(net::RouteSocket& host, const net::Link& child, VmPath& path) {
  const std::optional<net::Link> parent = TRY(net::find_link(host, child.peer_index));
  if (!parent) return {};
  path.anchor_kind = AnchorKind::kParent;
  path.anchor = parent->name;
  return {};
}

// A private namespace has one way out: the TAP's own parent, or a veth pair.
Result<void> trace_in_namespace(net::RouteSocket& host, const VmRecord& record, VmPath& path) {
  const Result<net::Netns> sandbox = net::Netns::open(record.netns);
  if (!sandbox) return {};  // gone with the VM
  path.netns = record.netns.substr(record.netns.rfind('/') + 1);
  net::RouteSocket inside = TRY(net::RouteSocket::open_in(*sandbox));
  const std::optional<net::Link> tap = TRY(net::find_link(inside, record.tap));
  if (tap) note_tap(*tap, path);
  if (tap && tap->kind == "macvtap") return note_parent(host, *tap, path);
  const std::vector<net::Link> links = TRY(net::list_links(inside, ""));
  const auto veth = std::ranges::find(links, "veth", &net::Link::kind);
  // What slicer-tap follows need not be a veth.
  const auto child = std::ranges::find_if(
      links, [](const net::Link& link) { return link.kind == "macvlan" || link.kind == "ipvlan"; });
  if (veth == links.end() && child != links.end()) return note_parent(host, *child, path);
  if (veth == links.end()) return {};
  path.inner_veth = veth->name;
  const std::optional<net::Link> other = TRY(net::find_link(host, veth->peer_index));
  if (!other || other->kind != "veth") return {};
  return note_host_link(host, *other, path);
}

}  // namespace

const char* anchor_name(AnchorKind kind) {
  switch (kind) {
    case AnchorKind::kNone:
      return "none";
    case AnchorKind::kBridge:
      return "bridge";
    case AnchorKind::kParent:
      return "parent";
    case AnchorKind::kRouted:
      return "routed";
  }
  return "?";
}

Result<VmPath> trace_vm(net::RouteSocket& host, const VmRecord& record) {
  VmPath path;
  if (record.tap.empty()) return path;
  if (record.placement == Placement::kPrivate) {
    TRY(trace_in_namespace(host, record, path));
    return path;
  }
  const std::optional<net::Link> tap = TRY(net::find_link(host, record.tap));
  if (!tap) return path;
  note_tap(*tap, path);
  TRY(note_host_link(host, *tap, path));
  return path;
}

}  // namespace slicer::runner
