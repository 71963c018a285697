#include <fmt/format.h>
#include <linux/if.h>
#include <linux/sched.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "lib/net/link_parse.h"
#include "lib/net/netlink_impl.h"

namespace slicer::net {
namespace {

/// linux/wait.h: children of every kind, also those that send no signal when they end.
constexpr int kWaitAll = 0x40000000;

bool is_absent(const Error& error) { return error.sys_errno == ENODEV; }

/// Deletes and waits for the barrier.
Result<void> delete_now(RouteSocket& ns, Message& request, const std::string& action) {
  Result<void> done = ns.transact(request, action);
  if (!done && is_absent(done.error())) return {};
  return done;
}

void reap(UniqueFd& child) {
  if (!child.valid()) return;
  siginfo_t info = {};
  (void)waitid(P_PIDFD, static_cast<id_t>(child.get()), &info, WEXITED | WNOHANG | kWaitAll);  // else it is init's
  child.reset();
}

/// In the child: nothing but system calls, as after any fork of a process that may have threads.
[[noreturn]] void send_and_end(int fd, const nlmsghdr& request) {
  // The caller's caller waits for the end of our pipes (Go's exec does), so they close before the long call.
  const auto socket_number = static_cast<unsigned>(fd);
  if (socket_number > 0) (void)close_range(0, socket_number - 1, 0);
  (void)close_range(socket_number + 1, ~0U, 0);
  sockaddr_nl kernel = {};
  kernel.nl_family = AF_NETLINK;
  (void)sendto(fd, &request, request.nlmsg_len, 0, reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel);
  _exit(0);
}

/// A child that sends `request` on the session's own socket: the kernel works while the child sleeps in sendto(), and
/// notices and answer arrive where the caller reads. Without a signal at its end, so that it disturbs nobody's wait().
/// @return its pidfd; invalid: no child could be made
UniqueFd start_child(int fd, const nlmsghdr& request) {
  int pidfd = -1;
  clone_args args = {};
  args.flags = CLONE_PIDFD;
  args.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  const long pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) send_and_end(fd, request);
  return UniqueFd(pid > 0 ? pidfd : -1);
}

/// What a caller waits for.
struct Notices {
  std::vector<int> open;           ///< links that are still there
  uint32_t sequence = 0;           ///< of the request
  std::optional<Verdict> verdict;  ///< its answer, when that came first

  [[nodiscard]] bool decided() const { return open.empty() || verdict.has_value(); }
  void take(nlmsghdr& message) {
    if (message.nlmsg_type == NLMSG_ERROR && message.nlmsg_seq == sequence) verdict = read_verdict(message);
    if (message.nlmsg_type != RTM_DELLINK || nlmsg_datalen(&message) < static_cast<int>(sizeof(ifinfomsg))) return;
    const auto* head = static_cast<const ifinfomsg*>(nlmsg_data(&message));
    if (head->ifi_family == AF_UNSPEC) std::erase(open, head->ifi_index);  // AF_BRIDGE: it only left its bridge
  }
};

/// Notices were lost: asks instead.
void drop_absent(int fd, std::vector<int>& open) {
  std::erase_if(open, [&](int index) {
    ifreq request = {};
    request.ifr_ifindex = index;
    return ioctl(fd, SIOCGIFNAME, &request) != 0 && errno == ENODEV;
  });
}

/// Reads all that is there. Error: kSystem.
Result<void> read_notices(RouteSocket::Impl& impl, Notices& notices) {
  for (;;) {
    const Result<std::span<uint8_t>> packet = impl.read(false);
    if (!packet && packet.error().sys_errno == EAGAIN) return {};
    if (!packet && packet.error().sys_errno != ENOBUFS) return std::unexpected(packet.error());
    if (!packet) {
      drop_absent(impl.fd, notices.open);
      continue;
    }
    auto* message = reinterpret_cast<nlmsghdr*>(packet->data());
    int left = static_cast<int>(packet->size());
    for (; nlmsg_ok(message, left) != 0; message = nlmsg_next(message, &left)) notices.take(*message);
  }
}

/// Until all links are gone, the kernel has answered, or the child is dead.
Result<void> await(RouteSocket::Impl& impl, Notices& notices) {
  for (bool child_ended = false; !child_ended;) {
    pollfd events[] = {{.fd = impl.fd, .events = POLLIN, .revents = 0},
                       {.fd = impl.child.get(), .events = POLLIN, .revents = 0}};
    if (poll(events, 2, -1) < 0 && errno != EINTR) return fail_errno(errno, "wait for the kernel's notice");
    child_ended = events[1].revents != 0;  // looked at before the last reading, which then misses nothing
    TRY(read_notices(impl, notices));
    if (notices.decided()) return {};
  }
  return {};
}

/// Deletes in a child and returns when all of `links` are gone.
Result<void> delete_with_notice(RouteSocket& ns, Message& request, std::vector<int> links, const std::string& action) {
  RouteSocket::Impl& impl = ns.impl();
  reap(impl.child);
  request.raw().nlmsg_flags |= NLM_F_ACK;
  TRY(impl.prepare(request).context(action));
  Notices notices{.open = std::move(links), .sequence = impl.sequence, .verdict = {}};
  TRY(ns.set_membership(RTNLGRP_LINK, true).context(action));
  impl.child = start_child(impl.fd, request.raw());
  const bool has_child = impl.child.valid();
  const Result<void> waited = has_child ? await(impl, notices) : Result<void>{};
  (void)ns.set_membership(RTNLGRP_LINK, false);  // more notices cost memory, no more
  if (!waited) return Result<void>(waited).context(action);
  if (!notices.decided()) return delete_now(ns, request, action);  // no child, or one that died before its work
  if (!notices.verdict || notices.verdict->err == 0 || notices.verdict->err == ENODEV) return {};
  return std::unexpected(verdict_error(*notices.verdict, action));
}

Message deletion(int index) {
  ifinfomsg head = {};
  head.ifi_index = index;
  Message request(RTM_DELLINK);
  request.header(head);
  return request;
}

Result<Message> group_deletion(uint32_t group) {
  // 0 is the group of every link that nobody put into one.
  if (group == 0) return fail(Kind::kInternal, "delete link group 0: that is everybody's");
  Message request = deletion(0);
  request.u32(IFLA_GROUP, group);
  return request;
}

Result<std::vector<int>> links_of_group(RouteSocket& ns, uint32_t group) {
  std::vector<int> indexes;
  for (const Link& link : TRY(list_links(ns, ""))) {
    if (link.group == group) indexes.push_back(link.index);
  }
  return indexes;
}

}  // namespace

Result<void> delete_link(RouteSocket& ns, int index, DeleteWait wait) {
  const std::string action = fmt::format("delete link {}", index);
  if (index <= 0) return fail(Kind::kInternal, action + ": no link has that index");
  Message request = deletion(index);
  if (wait == DeleteWait::kBarrier) return delete_now(ns, request, action);
  return delete_with_notice(ns, request, {index}, action);
}

Result<void> delete_link(RouteSocket& ns, const std::string& name, DeleteWait wait) {
  const std::optional<int> index = TRY(find_link_index(ns, name));
  if (!index) return {};
  return delete_link(ns, *index, wait).context("delete link '" + name + "'");
}

Result<void> delete_link_group(RouteSocket& ns, uint32_t group, DeleteWait wait) {
  Message request = TRY(group_deletion(group));
  const std::string action = fmt::format("delete links of group {}", group);
  if (wait == DeleteWait::kBarrier) return delete_now(ns, request, action);
  std::vector<int> links = TRY(links_of_group(ns, group).context(action));
  if (links.empty()) return {};
  return delete_with_notice(ns, request, std::move(links), action);
}

Result<void> delete_link_group_in(RouteSocket& ns, int netnsid, uint32_t group, int host_index, DeleteWait wait) {
  Message request = TRY(group_deletion(group));
  request.s32(IFLA_TARGET_NETNSID, netnsid);
  const std::string action = fmt::format("delete links of group {} in namespace {}", group, netnsid);
  Result<void> done = wait == DeleteWait::kBarrier ? delete_now(ns, request, action)
                                                   : delete_with_notice(ns, request, {host_index}, action);
  // The one thing the kernel can find invalid in this request is a number of no namespace: that one is gone.
  if (!done && done.error().sys_errno == EINVAL) return {};
  return done;
}

}  // namespace slicer::net
