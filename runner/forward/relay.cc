#include "runner/forward/relay.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "lib/base/log.h"

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;

constexpr auto kConnectLimit = 10s;  // a guest that is there answers in milliseconds
constexpr size_t kChunk = size_t{64} << 10;
constexpr int kBacklog = 64;

Result<void> bind_to(int fd, const ForwardSpec& spec) {
  const auto bytes = spec.listen.bytes();
  if (spec.listen.is_v4()) {
    sockaddr_in at = {};
    at.sin_family = AF_INET;
    at.sin_port = htons(spec.listen_port);
    std::memcpy(&at.sin_addr, bytes.data(), sizeof at.sin_addr);
    if (bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0) return {};
  } else {
    sockaddr_in6 at = {};
    at.sin6_family = AF_INET6;
    at.sin6_port = htons(spec.listen_port);
    std::memcpy(&at.sin6_addr, bytes.data(), sizeof at.sin6_addr);
    if (bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0) return {};
  }
  return std::unexpected(errno_error(errno, ""));
}

// The port stands at the same place in both kinds of address.
Result<uint16_t> port_of(int fd) {
  sockaddr_in6 at = {};
  socklen_t size = sizeof at;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size) != 0) return fail_errno(errno, "ask a socket's port");
  static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
  return ntohs(at.sin6_port);
}

// The client is to see an error, not the end of an empty answer.
void reset(const UniqueFd& client) {
  const linger now{.l_onoff = 1, .l_linger = 0};
  (void)setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

// False: the connection broke.
template <class Stream>
bool take_in(int from, Stream& stream) {
  std::array<char, kChunk> chunk;  // NOLINT(cppcoreguidelines-pro-type-member-init): recv() fills it
  const ssize_t count = recv(from, chunk.data(), chunk.size(), 0);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  if (count == 0) stream.ended = true;
  stream.waiting.append(chunk.data(), static_cast<size_t>(count));
  return true;
}

template <class Stream>
bool put_out(int to, Stream& stream) {
  if (!stream.waiting.empty()) {
    const ssize_t count = send(to, stream.waiting.data(), stream.waiting.size(), MSG_NOSIGNAL);
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    stream.waiting.erase(0, static_cast<size_t>(count));
  }
  if (stream.waiting.empty() && stream.ended && !stream.closed) {
    stream.closed = true;
    return shutdown(to, SHUT_WR) == 0 || errno == ENOTCONN;
  }
  return true;
}

int pending_error(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

// What an end is waited for: its next word when the last one is through, its room when something waits for it.
template <class Stream>
short events_of(const Stream& from_it, const Stream& to_it) {
  short events = 0;
  if (!from_it.ended && from_it.waiting.empty()) events |= POLLIN;
  if (!to_it.waiting.empty()) events |= POLLOUT;
  return events;
}

pollfd waiting_for(int fd, short events) {
  // Nothing to wait for: poll would still tell of a hang-up, again and again.
  return {.fd = events == 0 ? -1 : fd, .events = events, .revents = 0};
}

}  // namespace

Result<uint16_t> Relay::listen(const ForwardSpec& spec) {
  const std::string action = "listen on " + endpoint_text(spec.listen, spec.listen_port);
  UniqueFd fd(socket(addr::af_of(spec.listen.family()), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return fail_errno(errno, action);
  const int on = 1;
  (void)setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (!spec.listen.is_v4()) (void)setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  Result<void> bound = bind_to(fd.get(), spec);
  if (bound && ::listen(fd.get(), kBacklog) != 0) bound = std::unexpected(errno_error(errno, ""));
  if (!bound) {
    const int err = bound.error().sys_errno;
    Error error = errno_error(err, action);
    if (err == EADDRINUSE) error.kind = Kind::kBusy;
    if (err == EADDRINUSE) error.hint = "choose another port; 0 lets the kernel choose";
    return std::unexpected(std::move(error));
  }
  const uint16_t port = TRY(port_of(fd.get()));
  listeners_.push_back({.socket = std::move(fd), .guest_port = spec.guest_port});
  return port;
}

void Relay::accept_one(const Listener& listener) {
  UniqueFd client(accept4(listener.socket.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!client.valid()) return;  // gone again
  const int on = 1;
  (void)setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  Result<Dialled> guest = dial_(listener.guest_port);
  if (!guest) {
    log_line(guest.error().message);
    reset(client);
    return;
  }
  Connection& connection = connections_.emplace_back();
  connection.client = std::move(client);
  connection.guest = std::move(guest->socket);
  connection.confirm = std::move(guest->confirm);
  connection.guest_port = listener.guest_port;
  connection.deadline = Clock::now() + kConnectLimit;
}

void Relay::serve(Connection& connection, const pollfd& client, const pollfd& guest) const {
  if (!connection.decided) {
    int error = guest.revents != 0 ? pending_error(connection.guest.get()) : 0;
    if (guest.revents == 0 && Clock::now() >= connection.deadline) error = ETIMEDOUT;
    if (error != 0) {
      log_line(fmt::format("connect to port {} of the guest: {}", connection.guest_port, errno_text(error)));
      reset(connection.client);
    }
    connection.failed = error != 0;
    connection.decided = guest.revents != 0;
    if (connection.decided && !connection.failed && connection.confirm) confirm(connection);
    return;
  }
  bool good = true;
  if ((client.revents & (POLLIN | POLLHUP | POLLERR)) != 0 && (client.events & POLLIN) != 0)
    good = good && take_in(connection.client.get(), connection.to_guest);
  if ((guest.revents & (POLLIN | POLLHUP | POLLERR)) != 0 && (guest.events & POLLIN) != 0)
    good = good && take_in(connection.guest.get(), connection.to_client);
  good = good && put_out(connection.guest.get(), connection.to_guest);
  good = good && put_out(connection.client.get(), connection.to_client);
  if (!good) {
    reset(connection.client);
    reset(connection.guest);
    connection.failed = true;
  }
}

void Relay::confirm(Connection& connection) {
  const Result<void> confirmed = connection.confirm();
  if (confirmed) return;
  log_line(confirmed.error().message);
  reset(connection.client);
  reset(connection.guest);
  connection.failed = true;
}

int Relay::wait_limit_ms() const {
  Clock::time_point first = Clock::time_point::max();
  for (const Connection& connection : connections_)
    if (!connection.decided) first = std::min(first, connection.deadline);
  if (first == Clock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(first - Clock::now());
  return static_cast<int>(std::max<std::chrono::milliseconds::rep>(left.count(), 0));
}

void Relay::run(const std::vector<int>& until) {
  for (;;) {
    std::vector<pollfd> polled;
    for (const int fd : until) polled.push_back({.fd = fd, .events = POLLIN, .revents = 0});
    const bool full = connections_.size() >= kMaxConnections;
    for (const Listener& listener : listeners_)
      polled.push_back({.fd = full ? -1 : listener.socket.get(), .events = POLLIN, .revents = 0});
    for (const Connection& each : connections_) {
      const short client = each.decided ? events_of(each.to_guest, each.to_client) : short{0};
      const short guest = each.decided ? events_of(each.to_client, each.to_guest) : short{POLLOUT};
      polled.push_back(waiting_for(each.client.get(), client));
      polled.push_back(waiting_for(each.guest.get(), guest));
    }
    if (poll(polled.data(), polled.size(), wait_limit_ms()) < 0 && errno != EINTR) return;
    size_t at = 0;
    for (; at < until.size(); ++at)
      if (polled[at].revents != 0) return;
    const size_t first_listener = at;
    at += listeners_.size();
    for (Connection& each : connections_) {
      serve(each, polled[at], polled[at + 1]);
      at += 2;
    }
    for (size_t i = 0; i < listeners_.size(); ++i)
      if (polled[first_listener + i].revents != 0) accept_one(listeners_[i]);
    std::erase_if(connections_, [](const Connection& each) { return each.is_over(); });
  }
}

}  // namespace slicer::runner
