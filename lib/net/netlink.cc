#include "lib/net/netlink.h"

#include <linux/netlink.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <string>

#include "lib/net/message.h"
#include "lib/net/netlink_impl.h"

namespace slicer::net {
namespace {

/// A dump skb is at most 32 KiB (net/netlink/af_netlink.c, netlink_dump()); answers to single requests are smaller.
constexpr size_t kBufferSize = size_t{32} << 10;
/// Interrupted dumps start over so often.
constexpr int kDumpTries = 20;

void set_option(int fd, int option) {
  const int on = 1;
  (void)setsockopt(fd, SOL_NETLINK, option, &on,
                   sizeof on);  // all three are in 5.0 and older; text and filter, no more
}

}  // namespace

RouteSocket::RouteSocket(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RouteSocket::RouteSocket(RouteSocket&&) noexcept = default;
RouteSocket& RouteSocket::operator=(RouteSocket&&) noexcept = default;
RouteSocket::~RouteSocket() = default;

int RouteSocket::fd() const { return impl_->fd; }

Result<RouteSocket> RouteSocket::open() {
  auto impl = std::make_unique<Impl>();
  impl->sock.reset(nl_socket_alloc());
  if (!impl->sock) return fail_errno(ENOMEM, "open route socket");
  errno = 0;
  if (const int err = nl_connect(impl->sock.get(), NETLINK_ROUTE); err != 0)
    return errno != 0 ? fail_errno(errno, "open route socket")
                      : fail(Kind::kSystem, std::string("open route socket: ") + nl_geterror(err));
  impl->fd = nl_socket_get_fd(impl->sock.get());
  impl->port = nl_socket_get_local_port(impl->sock.get());
  impl->buffer.resize(kBufferSize);
  set_option(impl->fd, NETLINK_EXT_ACK);
  set_option(impl->fd, NETLINK_CAP_ACK);
  set_option(impl->fd, NETLINK_GET_STRICT_CHK);
  return RouteSocket(std::move(impl));
}

Result<RouteSocket> RouteSocket::open_in(const Netns& ns) {
  const ScopedNetns inside = TRY(ScopedNetns::enter(ns));
  return open();
}

bool RouteSocket::Impl::is_answer(const nlmsghdr& message, uint32_t to) const {
  // Notifications carry the number that another program's request had: the port tells them apart.
  return message.nlmsg_seq == to && message.nlmsg_pid == port;
}

Result<void> RouteSocket::Impl::prepare(Message& request) {
  if (request.failed()) return fail(Kind::kInternal, "build netlink request: it does not fit its buffer");
  request.raw().nlmsg_seq = ++sequence;
  request.raw().nlmsg_pid = 0;
  return {};
}

Result<void> RouteSocket::Impl::write(std::span<Message> requests) {
  std::vector<iovec> parts;
  parts.reserve(requests.size());
  for (Message& request : requests) {
    TRY(prepare(request));
    nlmsghdr& raw = request.raw();
    parts.push_back({.iov_base = &raw, .iov_len = NLMSG_ALIGN(raw.nlmsg_len)});
  }
  sockaddr_nl kernel = {};
  kernel.nl_family = AF_NETLINK;
  msghdr packet = {};
  packet.msg_name = &kernel;
  packet.msg_namelen = sizeof kernel;
  packet.msg_iov = parts.data();
  packet.msg_iovlen = parts.size();
  while (sendmsg(fd, &packet, 0) < 0) {
    if (const int err = errno; err != EINTR) return fail_errno(err, "send netlink request");
  }
  return {};
}

Result<std::span<uint8_t>> RouteSocket::Impl::read(bool wait) {
  for (;;) {
    sockaddr_nl from = {};
    socklen_t from_size = sizeof from;
    const ssize_t got = recvfrom(fd, buffer.data(), buffer.size(), MSG_TRUNC | (wait ? 0 : MSG_DONTWAIT),
                                 reinterpret_cast<sockaddr*>(&from), &from_size);
    if (got < 0) {
      if (const int err = errno; err != EINTR) return fail_errno(err, "read netlink answer");
      continue;
    }
    if (from.nl_pid != 0) continue;  // only the kernel's word counts
    if (static_cast<size_t>(got) > buffer.size()) return fail(Kind::kSystem, "read netlink answer: it is too long");
    return std::span(buffer).first(static_cast<size_t>(got));
  }
}

Result<void> RouteSocket::Impl::walk(const std::function<bool(nlmsghdr&)>& take) {
  for (;;) {
    const std::span<uint8_t> answer = TRY(read(true));
    auto* message = reinterpret_cast<nlmsghdr*>(answer.data());
    int left = static_cast<int>(answer.size());
    for (; nlmsg_ok(message, left) != 0; message = nlmsg_next(message, &left)) {
      if (!take(*message)) return {};
    }
  }
}

Result<void> RouteSocket::transact(Message& request, std::string_view action) {
  request.raw().nlmsg_flags |= NLM_F_ACK;
  TRY(impl_->write(std::span(&request, 1)).context(action));
  const uint32_t sequence = impl_->sequence;
  Verdict verdict;
  TRY(impl_
          ->walk([&](nlmsghdr& message) {
            if (!impl_->is_answer(message, sequence) || message.nlmsg_type != NLMSG_ERROR) return true;
            verdict = read_verdict(message);
            return false;
          })
          .context(action));
  if (verdict.err != 0) return std::unexpected(verdict_error(verdict, action));
  return {};
}

Result<std::vector<Result<void>>> RouteSocket::transact_all(std::span<Message> requests,
                                                            std::span<const std::string> actions) {
  std::vector<Result<void>> results(requests.size());
  if (requests.empty()) return results;
  for (Message& request : requests) request.raw().nlmsg_flags |= NLM_F_ACK;
  const uint32_t first = impl_->sequence + 1;
  TRY(impl_->write(requests).context(actions[0]));
  size_t open = requests.size();
  TRY(impl_
          ->walk([&](nlmsghdr& message) {
            const uint32_t place = message.nlmsg_seq - first;
            if (message.nlmsg_type != NLMSG_ERROR || place >= requests.size()) return true;
            if (const Verdict verdict = read_verdict(message); verdict.err != 0)
              results[place] = std::unexpected(verdict_error(verdict, actions[place]));
            return --open != 0;
          })
          .context(actions[0]));
  return results;
}

Result<void> RouteSocket::query(Message& request, std::string_view action, const std::function<void(nlmsghdr&)>& take) {
  TRY(impl_->write(std::span(&request, 1)).context(action));
  const uint32_t sequence = impl_->sequence;
  Verdict verdict;
  TRY(impl_
          ->walk([&](nlmsghdr& message) {
            if (!impl_->is_answer(message, sequence)) return true;
            if (message.nlmsg_type == NLMSG_ERROR)
              verdict = read_verdict(message);
            else
              take(message);
            return false;
          })
          .context(action));
  if (verdict.err != 0) return std::unexpected(verdict_error(verdict, action));
  return {};
}

Result<void> RouteSocket::dump(Message& request, std::string_view action, const std::function<void(nlmsghdr&)>& take,
                               const std::function<void()>& restart) {
  request.raw().nlmsg_flags |= NLM_F_DUMP;
  for (int tries = 0; tries < kDumpTries; ++tries) {
    TRY(impl_->write(std::span(&request, 1)).context(action));
    const uint32_t sequence = impl_->sequence;
    Verdict verdict;
    bool interrupted = false;
    TRY(impl_
            ->walk([&](nlmsghdr& message) {
              if (!impl_->is_answer(message, sequence)) return true;
              interrupted |= (message.nlmsg_flags & NLM_F_DUMP_INTR) != 0;
              if (message.nlmsg_type == NLMSG_ERROR) verdict = read_verdict(message);
              if (message.nlmsg_type == NLMSG_DONE) verdict = read_done(message);
              if (message.nlmsg_type == NLMSG_ERROR || message.nlmsg_type == NLMSG_DONE) return false;
              take(message);
              return true;
            })
            .context(action));
    if (verdict.err != 0) return std::unexpected(verdict_error(verdict, action));
    if (!interrupted) return {};
    restart();
  }
  return fail(
      Kind::kBusy,
      std::string(action) + ": the kernel's list changed during each of " + std::to_string(kDumpTries) + " readings",
      "try again");
}

Result<void> RouteSocket::set_membership(int group, bool member) {
  if (setsockopt(impl_->fd, SOL_NETLINK, member ? NETLINK_ADD_MEMBERSHIP : NETLINK_DROP_MEMBERSHIP, &group,
                 sizeof group) != 0)
    return fail_errno(errno, "change netlink membership");
  return {};
}

}  // namespace slicer::net
