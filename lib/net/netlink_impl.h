#pragma once
// Private to lib/net: what a RouteSocket consists of.

#include <netlink/socket.h>

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "lib/base/unique_fd.h"
#include "lib/net/netlink.h"

namespace slicer::net {

struct RouteSocket::Impl {
  struct Free {
    void operator()(nl_sock* each) const { nl_socket_free(each); }
  };
  std::unique_ptr<nl_sock, Free> sock;
  int fd = -1;        ///< sock's
  uint32_t port = 0;  ///< the session's address; answers carry it
  uint32_t sequence = 0;
  std::vector<uint8_t> buffer;
  UniqueFd child;  ///< pidfd of the last process that waits for a deletion's barrier

  [[nodiscard]] bool is_answer(const nlmsghdr& message, uint32_t to) const;
  /// Gives a request its number. Error: kInternal (it outgrew its room).
  Result<void> prepare(Message& request);
  /// Numbers the requests and sends them in one go.
  Result<void> write(std::span<Message> requests);
  /// One packet from the kernel. Errors: sys_errno EAGAIN (nothing there, and not to wait), ENOBUFS (notifications
  /// lost).
  Result<std::span<uint8_t>> read(bool wait);
  /// Message after message, until `take` has enough (false).
  Result<void> walk(const std::function<bool(nlmsghdr&)>& take);
};

}  // namespace slicer::net
