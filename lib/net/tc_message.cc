#include "lib/net/tc_message.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/tc_act/tc_mirred.h>

#include <cerrno>

namespace slicer::net {
namespace {

constexpr uint32_t kIngress = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
constexpr uint32_t kEgress = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS);

/// The kernel says ENOENT for a classifier or action that it does not have, EOPNOTSUPP for a qdisc.
Error with_kind(Error error) {
  if (error.sys_errno != ENOENT && error.sys_errno != EOPNOTSUPP) return error;
  error.kind = Kind::kUnsupportedKernel;
  error.hint = "the kernel needs clsact (NET_SCH_INGRESS), cls_bpf (NET_CLS_BPF) and mirred (NET_ACT_MIRRED)";
  return error;
}

/// No filter, no clsact (EINVAL: "Cannot find specified qdisc"), or no link.
bool is_absent(const Error& error) {
  return error.sys_errno == ENOENT || error.sys_errno == EINVAL || error.sys_errno == ENODEV;
}

Message qdisc_request(uint16_t type, int flags, int index, const char* kind = "clsact") {
  tcmsg head = {};
  head.tcm_ifindex = index;
  head.tcm_parent = TC_H_CLSACT;  // TC_H_INGRESS is the same number
  head.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
  Message request(type, flags, 128);
  request.header(head).text(TCA_KIND, kind);
  return request;
}

/// Whether a message of a dump is a filter of that place. (Of each priority a dump has one more, without a handle.)
bool is_at(nlmsghdr& message, const FilterPlace& place) {
  if (nlmsg_datalen(&message) < static_cast<int>(sizeof(tcmsg))) return false;
  const auto* head = static_cast<const tcmsg*>(nlmsg_data(&message));
  return TC_H_MAJ(head->tcm_info) >> 16 == place.priority && head->tcm_handle <= 1;
}

Result<void> dump_filters(RouteSocket& ns, int index, uint32_t parent, const std::function<void(nlmsghdr&)>& take,
                          const std::function<void()>& restart) {
  tcmsg head = {};
  head.tcm_ifindex = index;
  head.tcm_parent = parent;
  Message request(RTM_GETTFILTER, 0, 128);
  request.header(head);
  return ns.dump(request, "list filters of link " + std::to_string(index), take, restart);
}

/// Whether another filter than that of `place` stands at `parent`.
Result<bool> has_others(RouteSocket& ns, const FilterPlace& place, uint32_t parent) {
  const bool here = parent == (place.egress ? kEgress : kIngress);
  bool any = false;
  TRY(dump_filters(
      ns, place.index, parent,
      [&](nlmsghdr& message) { any |= message.nlmsg_type == RTM_NEWTFILTER && !(here && is_at(message, place)); },
      [&] { any = false; }));
  return any;
}

/// Error: that of the kernel for a link without one.
Result<void> delete_clsact(RouteSocket& ns, int index) {
  Message request = qdisc_request(RTM_DELQDISC, 0, index);
  return ns.transact(request, "delete clsact of link " + std::to_string(index));
}

}  // namespace

Message clsact_request(int index) { return qdisc_request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, index); }

Message filter_request(uint16_t type, int flags, const FilterPlace& place, uint32_t handle, size_t room) {
  tcmsg head = {};
  head.tcm_ifindex = place.index;
  head.tcm_parent = place.egress ? kEgress : kIngress;
  head.tcm_handle = handle;
  head.tcm_info = TC_H_MAKE(uint32_t{place.priority} << 16, htons(ETH_P_ALL));
  Message request(type, flags, room);
  request.header(head).text(TCA_KIND, place.kind);
  return request;
}

void put_program(Message& message, std::span<const sock_filter> program) {
  message.u16(TCA_BPF_OPS_LEN, static_cast<uint16_t>(program.size()));
  message.bytes(TCA_BPF_OPS, {reinterpret_cast<const uint8_t*>(program.data()), program.size_bytes()});
}

Result<void> install_filters(RouteSocket& ns, std::span<Message> requests, std::span<const std::string> actions) {
  for (Result<void>& each : TRY(ns.transact_all(requests, actions))) {
    if (each || each.error().sys_errno == EEXIST) continue;  // only the qdisc is asked for exclusively
    return std::unexpected(with_kind(each.error()));
  }
  return {};
}

Result<bool> query_filter(RouteSocket& ns, const FilterPlace& place, const std::function<void(nlattr*)>& take,
                          uint32_t handle) {
  Message question = filter_request(RTM_GETTFILTER, 0, place, handle);
  const Result<void> asked =
      ns.query(question, "find filter of link " + std::to_string(place.index),
               [&](nlmsghdr& message) { take(Attributes<TCA_MAX>(message, sizeof(tcmsg)).get(TCA_OPTIONS)); });
  if (!asked && is_absent(asked.error())) return false;
  if (!asked) return std::unexpected(asked.error());
  return true;
}

std::optional<uint32_t> redirect_target(nlattr* action_list) {
  const Attributes<1> actions(action_list);
  const Attributes<TCA_ACT_MAX> action(actions.get(1));
  if (action.text(TCA_ACT_KIND) != "mirred") return std::nullopt;
  const Attributes<TCA_MIRRED_MAX> parameters(action.get(TCA_ACT_OPTIONS));
  const std::optional<tc_mirred> mirred = parameters.number<tc_mirred>(TCA_MIRRED_PARMS);
  if (!mirred || mirred->eaction != TCA_EGRESS_REDIR) return std::nullopt;
  return mirred->ifindex;
}

Result<void> list_ingress_filters(RouteSocket& ns, int index, const std::function<void(nlmsghdr&)>& take,
                                  const std::function<void()>& restart) {
  Result<void> listed = dump_filters(ns, index, kIngress, take, restart);
  if (!listed && is_absent(listed.error())) return {};
  return listed;
}

Result<void> delete_ingress(RouteSocket& ns, int index) {
  Message request = qdisc_request(RTM_DELQDISC, 0, index, "ingress");
  Result<void> done = ns.transact(request, "delete ingress qdisc of link " + std::to_string(index));
  if (!done && is_absent(done.error())) return {};
  return done;
}

Result<void> delete_filter(RouteSocket& ns, const FilterPlace& place) {
  Message request = filter_request(RTM_DELTFILTER, 0, place, 0);
  Result<void> done = ns.transact(request, "delete filter of link " + std::to_string(place.index));
  if (!done && is_absent(done.error())) return {};
  return done;
}

Result<void> delete_last_filter(RouteSocket& ns, const FilterPlace& place) {
  for (const uint32_t parent : {kIngress, kEgress}) {
    const Result<bool> shared = has_others(ns, place, parent);
    if (!shared && is_absent(shared.error())) return {};
    if (TRY(Result<bool>(shared))) return delete_filter(ns, place);
  }
  const Result<void> done = delete_clsact(ns, place.index);
  // Somebody's "ingress" in its place is not ours to delete.
  if (!done && is_absent(done.error())) return delete_filter(ns, place);
  return done;
}

}  // namespace slicer::net
