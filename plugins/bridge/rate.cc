#include "plugins/bridge/rate.h"

#include <fmt/core.h>

#include "lib/net/shaper.h"

namespace slicer::bridge {
namespace {

constexpr char kIfbRole = 'i';

bool is_limited(const cni::RateLimit& limit) { return limit.bytes_per_second != 0; }

net::Bucket bucket_of(const cni::RateLimit& limit, unsigned mtu_bytes) {
  return net::fit_bucket({.bytes_per_second = limit.bytes_per_second, .burst_bytes = limit.burst_bytes}, mtu_bytes);
}

/// The MTU that ADD counted with; another plugin may have changed the link's since.
unsigned planned_mtu(const Call& call, unsigned mtu_bytes) {
  return call.config.mtu_bytes != 0 ? call.config.mtu_bytes : mtu_bytes;
}

std::unexpected<Error> mismatch(const Call& call, const char* key) {
  return fail(Kind::kMismatch, fmt::format("check \"{}\" of '{}': absent or changed", key, call.attachment.ifname),
              "delete the attachment and add it again");
}

Result<void> check_send(const Call& call, net::RouteSocket& ns, int index, const cni::RateLimit& limit, unsigned mtu,
                        const char* key) {
  if (!is_limited(limit) || TRY(net::has_send_limit(ns, index, bucket_of(limit, mtu)))) return {};
  return mismatch(call, key);
}

}  // namespace

Result<void> limit_port(Call& call, int port, unsigned mtu_bytes, Undo& undo) {
  const cni::Bandwidth& wanted = call.config.bandwidth;
  if (is_limited(wanted.ingress)) TRY(net::add_send_limit(call.host, port, bucket_of(wanted.ingress, mtu_bytes)));
  if (!is_limited(wanted.egress)) return {};
  const net::IfbSpec ifb{.name = call.attachment.kernel_name(kIfbRole), .alias = call.attachment.alias()};
  const int index = TRY(net::add_receive_limit(call.host, port, ifb, bucket_of(wanted.egress, mtu_bytes)));
  undo.push("delete ifb", [&call, index] { return net::delete_link(call.host, index, net::DeleteWait::kNotice); });
  return {};
}

Result<void> check_port_limit(Call& call, const net::Link& port) {
  const cni::Bandwidth& wanted = call.config.bandwidth;
  const unsigned mtu = planned_mtu(call, port.mtu_bytes);
  TRY(check_send(call, call.host, port.index, wanted.ingress, mtu, "ingressRate"));
  if (!is_limited(wanted.egress)) return {};
  const std::string ifb = call.attachment.kernel_name(kIfbRole);
  if (TRY(net::has_receive_limit(call.host, port.index, ifb, bucket_of(wanted.egress, mtu)))) return {};
  return mismatch(call, "egressRate");
}

Result<void> delete_ifb(Call& call) {
  const std::string name = call.attachment.kernel_name(kIfbRole);
  if (!TRY(net::find_link_index(call.host, name))) return {};
  const std::optional<net::Link> ifb = TRY(net::find_link(call.host, name));
  // A process killed after the creating message has not set the alias: the name, which nobody else uses, says whose.
  if (!ifb || ifb->kind != "ifb" || (!ifb->alias.empty() && ifb->alias != call.attachment.alias())) return {};
  return net::delete_link(call.host, ifb->index, net::DeleteWait::kNotice);
}

Result<void> limit_inside(Call& call, const InnerPair& pair, unsigned mtu_bytes) {
  const cni::Bandwidth& wanted = call.config.bandwidth;
  net::RouteSocket& inside = call.sandbox->routes;
  if (is_limited(wanted.ingress)) TRY(net::add_send_limit(inside, pair.tap, bucket_of(wanted.ingress, mtu_bytes)));
  if (is_limited(wanted.egress)) TRY(net::add_send_limit(inside, pair.inner, bucket_of(wanted.egress, mtu_bytes)));
  return {};
}

Result<void> check_inside_limit(Call& call, const InnerPair& pair, unsigned mtu_bytes) {
  const cni::Bandwidth& wanted = call.config.bandwidth;
  net::RouteSocket& inside = call.sandbox->routes;
  const unsigned mtu = planned_mtu(call, mtu_bytes);
  TRY(check_send(call, inside, pair.tap, wanted.ingress, mtu, "ingressRate"));
  return check_send(call, inside, pair.inner, wanted.egress, mtu, "egressRate");
}

}  // namespace slicer::bridge
