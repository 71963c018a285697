#include "plugins/bridge/host_veth.h"

#include <fmt/core.h>

namespace slicer::bridge {
namespace {

Error mismatch(const std::string& name, const std::string& cause) {
  return {.kind = Kind::kMismatch,
          .message = fmt::format("check link '{}': {}", name, cause),
          .hint = "delete the attachment and add it again"};
}

/// By its name, which nobody else uses, and its alias, which a process killed after the creating message has not set.
Result<std::optional<net::Link>> find_host_end(Call& call) {
  std::optional<net::Link> link = TRY(net::find_link(call.host, call.attachment.kernel_name('v')));
  if (link && (link->kind != "veth" || (!link->alias.empty() && link->alias != call.attachment.alias()))) link.reset();
  return link;
}

}  // namespace

Result<HostVeth> add_host_veth(Call& call, const Bridge& bridge, const InnerEnd& inner, unsigned mtu_bytes,
                               Undo& undo) {
  HostVeth veth{.name = call.attachment.kernel_name('v'), .mac = device_mac(call, "host")};
  veth.index = TRY(net::create_veth(call.host, {.here = {.name = veth.name, .mac = veth.mac, .mtu_bytes = mtu_bytes},
                                                .master = bridge.index,
                                                .alias = call.attachment.alias(),
                                                .peer = {.name = inner.name,
                                                         .mac = inner.mac,
                                                         .mtu_bytes = mtu_bytes,
                                                         .group = call.attachment.group(),
                                                         .up = false},
                                                .peer_ns = &call.sandbox->ns}));
  undo.push("delete veth",
            [&call, index = veth.index] { return net::delete_link(call.host, index, net::DeleteWait::kNotice); });
  return veth;
}

Result<net::Link> check_host_veth(Call& call, const Bridge& bridge) {
  const std::string name = call.attachment.kernel_name('v');
  std::optional<net::Link> link = TRY(find_host_end(call));
  if (!link) return std::unexpected(mismatch(name, "no such link"));
  TRY(check_host_port(*link, bridge, call.config.bridge));
  return std::move(*link);
}

Result<void> check_host_port(const net::Link& link, const Bridge& bridge, const std::string& bridge_name) {
  if (!link.up) return std::unexpected(mismatch(link.name, "it is down"));
  if (link.master != bridge.index)
    return std::unexpected(mismatch(link.name, fmt::format("it is no port of bridge '{}'", bridge_name)));
  return {};
}

Result<void> delete_pair(net::RouteSocket& host, const net::Link& host_end, uint32_t group) {
  if (host_end.peer_netnsid) {
    TRY(net::delete_link_group_in(host, *host_end.peer_netnsid, group, host_end.index, net::DeleteWait::kNotice));
  }
  // The namespace may have been gone, or the other end may have lost its group.
  return net::delete_link(host, host_end.index, net::DeleteWait::kNotice);
}

Result<bool> has_host_end(Call& call) { return TRY(find_host_end(call)).has_value(); }

Result<void> delete_inside(Call& call) {
  if (!call.sandbox) return {};
  return net::delete_link_group(call.sandbox->routes, call.attachment.group(), net::DeleteWait::kNotice);
}

Result<void> delete_host_end(Call& call) {
  const std::optional<net::Link> host_end = TRY(find_host_end(call));
  if (!host_end) return {};
  return delete_pair(call.host, *host_end, call.attachment.group());
}

}  // namespace slicer::bridge
