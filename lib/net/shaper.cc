#include "lib/net/shaper.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "lib/net/link.h"
#include "lib/net/tc_message.h"
#include "lib/net/tc_redirect.h"

namespace slicer::net {
namespace {

/// Ours are known by it. Others take 1: or let the kernel choose, from 8000: on.
constexpr uint32_t kHandle = TC_H_MAKE(0x51c0U << 16, 0);
/// Ethernet's header and a VLAN tag, beside the MTU.
constexpr uint32_t kFrameHeaders = 14 + 4;

/// What may wait: a twentieth of a second's worth, and as much again as may come at once (up to two of the largest
/// packets before segmentation), since a bucket that is empty when that comes must not drop it.
uint32_t queue_bytes(const Bucket& bucket) {
  constexpr uint64_t kLeast = uint64_t{16} << 10;
  constexpr uint64_t kLargestPackets = uint64_t{128} << 10;
  const uint64_t at_once = std::clamp<uint64_t>(bucket.burst_bytes, kLeast, std::max(kLargestPackets, kLeast));
  return static_cast<uint32_t>(std::min<uint64_t>(bucket.bytes_per_second / 20 + at_once, UINT32_MAX));
}

std::string limit_text(int index) { return "limit the rate of link " + std::to_string(index); }

Message root_request(uint16_t type, int flags, int index, uint32_t handle) {
  tcmsg head = {};
  head.tcm_ifindex = index;
  head.tcm_parent = TC_H_ROOT;
  head.tcm_handle = handle;
  Message request(type, flags, 256);
  request.header(head);
  return request;
}

Message limit_request(int flags, int index, const Bucket& bucket) {
  Message request = root_request(RTM_NEWQDISC, NLM_F_CREATE | flags, index, kHandle);
  tc_tbf_qopt parameters = {};
  // With a link layer the kernel computes by itself; else it wants a table of times (net/sched/sch_tbf.c).
  parameters.rate.linklayer = TC_LINKLAYER_ETHERNET;
  parameters.rate.rate = static_cast<uint32_t>(std::min<uint64_t>(bucket.bytes_per_second, UINT32_MAX));
  parameters.limit = queue_bytes(bucket);
  request.text(TCA_KIND, "tbf").nest(TCA_OPTIONS, [&] {
    request.plain(TCA_TBF_PARMS, parameters).u32(TCA_TBF_BURST, bucket.burst_bytes);
    if (bucket.bytes_per_second > UINT32_MAX) request.plain(TCA_TBF_RATE64, bucket.bytes_per_second);
  });
  return request;
}

/// The kernel has a word each for what it does not know: a qdisc ENOENT, a kind of link EOPNOTSUPP.
Error with_hint(Error error) {
  if (error.sys_errno != ENOENT && error.sys_errno != EOPNOTSUPP) return error;
  error.kind = Kind::kUnsupportedKernel;
  error.hint = "a limited rate needs tbf (NET_SCH_TBF) and ifb (IFB) in the kernel";
  return error;
}

Result<void> put_limit(RouteSocket& ns, int flags, int index, const Bucket& bucket) {
  Message request = limit_request(flags, index, bucket);
  Result<void> done = ns.transact(request, limit_text(index));
  if (!done) return std::unexpected(with_hint(std::move(done).error()));
  return done;
}

struct Standing {
  uint32_t handle = 0;
  std::string kind = {};
  tc_tbf_qopt parameters = {};
  uint64_t bytes_per_second = 0;
};

Standing read_standing(nlmsghdr& message) {
  Standing standing;
  if (nlmsg_datalen(&message) < static_cast<int>(sizeof(tcmsg))) return standing;
  standing.handle = static_cast<const tcmsg*>(nlmsg_data(&message))->tcm_handle;
  const Attributes<TCA_MAX> qdisc(message, sizeof(tcmsg));
  standing.kind = qdisc.text(TCA_KIND);
  if (standing.kind != "tbf") return standing;
  const Attributes<TCA_TBF_MAX> options(qdisc.get(TCA_OPTIONS));
  standing.parameters = options.number<tc_tbf_qopt>(TCA_TBF_PARMS).value_or(tc_tbf_qopt{});
  standing.bytes_per_second = options.number<uint64_t>(TCA_TBF_RATE64).value_or(standing.parameters.rate.rate);
  return standing;
}

/// The root qdisc that somebody chose; one that the kernel put there by itself has no handle.
Result<std::optional<Standing>> find_root(RouteSocket& ns, int index) {
  // The answer is a notification, of which the asker gets one by NLM_F_ECHO alone (qdisc_get_notify()).
  Message question = root_request(RTM_GETQDISC, NLM_F_ECHO, index, 0);
  std::optional<Standing> standing;
  const Result<void> asked = ns.query(question, "find the qdisc of link " + std::to_string(index),
                                      [&](nlmsghdr& message) { standing = read_standing(message); });
  // The kernel shows no builtin one: EINVAL (net/sched/sch_api.c, qdisc_get_notify()).
  if (!asked && (asked.error().sys_errno == ENOENT || asked.error().sys_errno == EINVAL)) return std::nullopt;
  if (!asked) return std::unexpected(asked.error());
  return standing;
}

/// The kernel gives the burst as the time that it takes at that rate, in ticks of 64 ns and 32 bits.
bool is_burst(uint32_t ticks, const Bucket& bucket) {
  const double expected =
      static_cast<double>(bucket.burst_bytes) * 1e9 / 64 / static_cast<double>(bucket.bytes_per_second);
  if (expected >= double{UINT32_MAX}) return true;  // it does not fit, so nothing tells
  const double difference = static_cast<double>(ticks) - expected;
  const double allowed = 2 + expected / (1 << 20);
  return difference <= allowed && -difference <= allowed;
}

Result<int> create_ifb(RouteSocket& ns, const IfbSpec& spec) {
  ifinfomsg head = {};
  Message message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.header(head).text(IFLA_IFNAME, spec.name);
  if (spec.group != 0) message.u32(IFLA_GROUP, spec.group);
  message.nest(IFLA_LINKINFO, [&] { message.text(IFLA_INFO_KIND, "ifb"); });
  Result<void> made = ns.transact(message, "create ifb '" + spec.name + "'");
  if (!made) return std::unexpected(with_hint(std::move(made).error()));
  return get_link_index(ns, spec.name);
}

/// By two messages: in one the kernel raises the link, which makes its fe80 address, before it reads what forbids that.
Result<void> finish_ifb(RouteSocket& ns, int ifb, const IfbSpec& spec, const Bucket& bucket) {
  TRY(set_link(ns, ifb, {.alias = spec.alias, .no_ipv6_link_local = true}));
  TRY(add_send_limit(ns, ifb, bucket));
  return set_link(ns, ifb, {.up = true});
}

}  // namespace

Bucket fit_bucket(Bucket bucket, unsigned mtu_bytes) {
  bucket.burst_bytes = std::max(bucket.burst_bytes, uint32_t{mtu_bytes} + kFrameHeaders);
  return bucket;
}

Result<void> add_send_limit(RouteSocket& ns, int index, const Bucket& bucket) {
  return put_limit(ns, NLM_F_EXCL, index, bucket);
}

Result<void> ensure_send_limit(RouteSocket& ns, int index, const Bucket& bucket) {
  const std::optional<Standing> standing = TRY(find_root(ns, index));
  if (!standing || standing->handle != kHandle) return add_send_limit(ns, index, bucket);
  return put_limit(ns, NLM_F_REPLACE, index, bucket);
}

Result<bool> has_send_limit(RouteSocket& ns, int index, const Bucket& bucket) {
  const std::optional<Standing> standing = TRY(find_root(ns, index));
  return standing && standing->handle == kHandle && standing->kind == "tbf" &&
         standing->bytes_per_second == bucket.bytes_per_second && standing->parameters.limit == queue_bytes(bucket) &&
         is_burst(standing->parameters.buffer, bucket);
}

Result<void> delete_send_limit(RouteSocket& ns, int index) {
  const std::optional<Standing> standing = TRY(find_root(ns, index));
  if (!standing || standing->handle != kHandle) return {};
  Message request = root_request(RTM_DELQDISC, 0, index, kHandle);
  return ns.transact(request, "delete the rate limit of link " + std::to_string(index));
}

Result<int> add_receive_limit(RouteSocket& ns, int index, const IfbSpec& spec, const Bucket& bucket) {
  const int ifb = TRY(create_ifb(ns, spec));
  const auto finish = [&]() -> Result<void> {
    TRY(finish_ifb(ns, ifb, spec, bucket));
    return ensure_detour(ns, index, ifb);
  };
  const Result<void> finished = finish();
  if (finished) return ifb;
  (void)delete_link(ns, ifb, DeleteWait::kNotice);  // the error that counts is the first
  return std::unexpected(finished.error());
}

Result<bool> has_receive_limit(RouteSocket& ns, int index, const std::string& name, const Bucket& bucket) {
  const std::optional<Link> ifb = TRY(find_link(ns, name));
  if (!ifb || ifb->kind != "ifb" || !ifb->up) return false;
  return TRY(has_detour(ns, index, ifb->index)) && TRY(has_send_limit(ns, ifb->index, bucket));
}

}  // namespace slicer::net
