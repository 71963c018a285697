#pragma once
// Private to lib/net: filters on the clsact qdisc of a link.

#include <linux/filter.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "lib/net/message.h"

namespace slicer::net {

/// The order of our filters on a link: the guard decides before the redirect takes the frame away.
inline constexpr uint16_t kGuardPriority = 1;
inline constexpr uint16_t kRedirectPriority = 2;
inline constexpr uint16_t kDetourPriority = 3;

/// Where a filter stands.
struct FilterPlace {
  int index = 0;
  uint16_t priority = 0;
  bool egress = false;  ///< what the link sends; else what it receives
  const char* kind = "bpf";
};

/// RTM_NEWQDISC clsact; the answer EEXIST is fine.
Message clsact_request(int index);
/// Header of a request about the filters of that place, of any protocol; handle 1, or 0 for all of them.
Message filter_request(uint16_t type, int flags, const FilterPlace& place, uint32_t handle, size_t room = 1024);
/// Classic BPF for cls_bpf.
void put_program(Message& message, std::span<const sock_filter> program);

/// The clsact qdisc and then the filters, all in one send. A refusal because of a missing classifier or action is
/// kUnsupportedKernel.
Result<void> install_filters(RouteSocket& ns, std::span<Message> requests, std::span<const std::string> actions);
/// Hands the options (TCA_OPTIONS) of the filter to `take`. @return whether there is one
Result<bool> query_filter(RouteSocket& ns, const FilterPlace& place, const std::function<void(nlattr*)>& take,
                          uint32_t handle = 1);
/// Where an action list (TCA_BPF_ACT, TCA_U32_ACT) redirects to by its first action; 0: to a link that is gone.
std::optional<uint32_t> redirect_target(nlattr* action_list);
/// Hands each message about a filter on what the link receives to `take`; `restart` begins anew. No link, or none that
/// can have filters, is an empty list.
Result<void> list_ingress_filters(RouteSocket& ns, int index, const std::function<void(nlmsghdr&)>& take,
                                  const std::function<void()>& restart);
/// Absent is success.
Result<void> delete_filter(RouteSocket& ns, const FilterPlace& place);
/// The same, and when nobody has another filter on the link, the clsact qdisc with it, by one message.
Result<void> delete_last_filter(RouteSocket& ns, const FilterPlace& place);
/// The `ingress` qdisc, which is not ours; absent, or a clsact in its place, is success.
Result<void> delete_ingress(RouteSocket& ns, int index);

}  // namespace slicer::net
