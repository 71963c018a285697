#pragma once
// One rtnetlink session per namespace: request and answer, batches, dumps, notifications.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.h"
#include "lib/net/netns.h"

struct nlmsghdr;

namespace slicer::net {

class Message;  // lib/net/message.h, private to lib/net

/// A route socket, bound to the namespace it was opened in whatever the thread does later. Errors carry the kernel's
/// own words (extended ack) behind the action: "create bridge 'br0': <kernel text>: <errno text>".
/// Kinds: kNotFound (ENODEV, ENOENT, ESRCH, ENXIO), kExists (EEXIST), kUnsupportedKernel (EOPNOTSUPP), kExhausted (a
/// bridge without a free port), else kSystem; sys_errno is always set. Not for several threads at once.
class RouteSocket {
 public:
  /// In the calling thread's namespace.
  static Result<RouteSocket> open();
  static Result<RouteSocket> open_in(const Netns& ns);

  RouteSocket(RouteSocket&&) noexcept;
  RouteSocket& operator=(RouteSocket&&) noexcept;
  ~RouteSocket();

  [[nodiscard]] int fd() const;

  /// What follows is for lib/net's own files: others use link.h, address.h, …

  /// Sends one request and waits for its ack.
  Result<void> transact(Message& request, std::string_view action);
  /// Sends all in one go and waits for every ack. The kernel works on all of them whatever becomes of the first:
  /// @return one entry per request, in order
  Result<std::vector<Result<void>>> transact_all(std::span<Message> requests, std::span<const std::string> actions);
  /// Sends one request and hands its single answer to `take`.
  Result<void> query(Message& request, std::string_view action, const std::function<void(nlmsghdr&)>& take);
  /// Sends a dump request; an interrupted dump (NLM_F_DUMP_INTR) starts over, a bounded number of times, after
  /// `restart`, which forgets what `take` has collected. Error: kBusy when that does not help.
  Result<void> dump(Message& request, std::string_view action, const std::function<void(nlmsghdr&)>& take,
                    const std::function<void()>& restart);
  /// Joins or leaves a multicast group (RTNLGRP_*).
  Result<void> set_membership(int group, bool member);

  struct Impl;
  [[nodiscard]] Impl& impl() { return *impl_; }

 private:
  explicit RouteSocket(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace slicer::net
