#include "plugins/macvtap/rate.h"

#include <fmt/core.h>

#include "lib/net/shaper.h"

namespace slicer::macvtap {
namespace {

constexpr char kIfbRole = 'i';

bool is_limited(const cni::RateLimit& limit) { return limit.bytes_per_second != 0; }

/// With the MTU that ADD counted with; another plugin may have changed the device's since.
net::Bucket bucket_of(const Call& call, const cni::RateLimit& limit, const net::Link& device) {
  const unsigned mtu = call.config.mtu_bytes != 0 ? call.config.mtu_bytes : device.mtu_bytes;
  return net::fit_bucket({.bytes_per_second = limit.bytes_per_second, .burst_bytes = limit.burst_bytes}, mtu);
}

std::unexpected<Error> changed(const char* key, const net::Link& device) {
  return mismatch(fmt::format("\"{}\" of '{}'", key, device.name), "absent or changed");
}

}  // namespace

Result<void> limit_device(Call& call, const net::Link& device, Undo& undo) {
  const cni::Bandwidth& wanted = call.config.bandwidth;
  net::RouteSocket& routes = call.sandbox->routes;
  if (is_limited(wanted.egress)) TRY(net::add_send_limit(routes, device.index, bucket_of(call, wanted.egress, device)));
  if (!is_limited(wanted.ingress)) return {};
  const net::IfbSpec ifb{.name = call.attachment.kernel_name(kIfbRole),
                         .alias = call.attachment.alias(),
                         .group = call.attachment.group_in_network()};
  const int index = TRY(net::add_receive_limit(routes, device.index, ifb, bucket_of(call, wanted.ingress, device)));
  undo.push("delete ifb", [&routes, index] { return net::delete_link(routes, index, net::DeleteWait::kNotice); });
  return {};
}

Result<void> check_limit(Call& call, const net::Link& device) {
  const cni::Bandwidth& wanted = call.config.bandwidth;
  net::RouteSocket& routes = call.sandbox->routes;
  if (is_limited(wanted.egress) &&
      !TRY(net::has_send_limit(routes, device.index, bucket_of(call, wanted.egress, device))))
    return changed("egressRate", device);
  const std::string ifb = call.attachment.kernel_name(kIfbRole);
  if (is_limited(wanted.ingress) &&
      !TRY(net::has_receive_limit(routes, device.index, ifb, bucket_of(call, wanted.ingress, device))))
    return changed("ingressRate", device);
  return {};
}

Result<void> delete_ifb(Call& call) {
  if (!call.sandbox) return {};
  net::RouteSocket& routes = call.sandbox->routes;
  const std::string name = call.attachment.kernel_name(kIfbRole);
  if (!TRY(net::find_link_index(routes, name))) return {};
  const std::optional<net::Link> ifb = TRY(net::find_link(routes, name));
  if (!ifb || !is_ifb_of(*ifb, call.attachment)) return {};
  return net::delete_link(routes, ifb->index, net::DeleteWait::kNotice);
}

// By name and group, which the creating message gives: a process killed behind it has set no alias.
bool is_ifb_of(const net::Link& link, const std::string& network) {
  return link.kind == "ifb" &&
         link.name.starts_with(cni::Attachment{.network = network}.kernel_name_prefix(kIfbRole)) &&
         cni::is_group_in_network(link.group, network);
}

bool is_ifb_of(const net::Link& link, const cni::Attachment& attachment) {
  return link.kind == "ifb" && link.name == attachment.kernel_name(kIfbRole) &&
         link.group == attachment.group_in_network();
}

}  // namespace slicer::macvtap
