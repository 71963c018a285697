#include "runner/forward/connection.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "lib/base/log.h"

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;

constexpr auto kConnectLimit = 10s;  // a guest that is there answers in milliseconds
constexpr int kPortionsAtOnce = 8;   // then the other connections have their turn

int pending_error(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

// TCP drops received bytes without a copy (MSG_TRUNC, tcp(7)); of other streams that is not said.
bool is_tcp(int fd) {
  int domain = 0;
  socklen_t size = sizeof domain;
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && (domain == AF_INET || domain == AF_INET6);
}

bool would_block() { return errno == EAGAIN || errno == EINTR; }

}  // namespace

void reset_on_close(const UniqueFd& socket) {
  const linger now{.l_onoff = 1, .l_linger = 0};
  (void)setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

Connection::Connection(Shared& shared, UniqueFd client, Dialled guest, std::string target)
    : shared_(shared), target_(std::move(target)) {
  client_.socket = std::move(client);
  client_.discards = is_tcp(client_.socket.get());
  dial(std::move(guest));
}

Connection::~Connection() {
  for (End* end : {&client_, &guest_}) shared_.loop.watch(end->socket.get(), 0, end->watched, end);
  if (carrier_ && !failed_) carrier_->leave();
}

void Connection::dial(Dialled guest) {
  shared_.loop.watch(guest_.socket.get(), 0, guest_.watched, &guest_);
  guest_.socket = std::move(guest.socket);
  guest_.discards = is_tcp(guest_.socket.get());
  confirm_ = std::move(guest.confirm);
  instead_ = std::move(guest.instead);
  carrier_ = std::move(guest.carrier);
  silent_end_is_refusal_ = guest.silent_end_is_refusal;
  deadline_ = Clock::now() + kConnectLimit;
  shared_.loop.watch(guest_.socket.get(), EPOLLOUT, guest_.watched, &guest_);
}

void Connection::on_time(Clock::time_point now) {
  if (is_undecided() && now >= deadline_) decide(ETIMEDOUT);
}

void Connection::on_events(bool guest, uint32_t events) {
  if (failed_) return;
  if (!decided_) {
    if (guest && events != 0) decide(pending_error(guest_.socket.get()));
    return;
  }
  carry(guest, events);
}

void Connection::decide(int error) {
  shared_.news = true;
  if (error == ECONNREFUSED && instead_) {
    Result<Dialled> other = std::exchange(instead_, {})();
    if (other) return dial(std::move(*other));
    log_line(other.error().message);
    return fail();
  }
  if (error != 0) {
    log_line(fmt::format("connect to {}: {}", target_, errno_text(error)));
    return fail();
  }
  if (confirm_) {
    if (const Result<void> confirmed = confirm_(); !confirmed) {
      log_line(confirmed.error().message);
      return fail();
    }
  }
  decided_ = true;
  await_more();
}

void Connection::fail() {
  failed_ = true;
  shared_.news = true;
  for (End* end : {&client_, &guest_}) {
    reset_on_close(end->socket);
    shared_.loop.watch(end->socket.get(), 0, end->watched, end);
  }
}

void Connection::carry(bool guest, uint32_t events) {
  bool good = true;
  if ((events & ~uint32_t{EPOLLOUT}) != 0)
    good = guest ? move(guest_, to_client_, client_) : move(client_, to_guest_, guest_);
  if (good && (events & EPOLLOUT) != 0)
    good = guest ? move(client_, to_guest_, guest_) : move(guest_, to_client_, client_);
  if (good && silent_end_is_refusal_) good = !to_client_.ended || to_client_.begun || to_guest_.ended;
  if (!good) return fail();
  if (is_over()) shared_.news = true;
  await_more();
}

// False: the connection broke.
bool Connection::move(const End& from, Stream& stream, const End& to) const {
  stream.blocked = false;
  Moved moved = Moved::kSome;
  for (int i = 0; i < kPortionsAtOnce && moved == Moved::kSome && !stream.ended; ++i)
    moved = move_portion(from, stream, to);
  if (moved == Moved::kBroken) return false;
  if (!stream.ended || stream.closed) return true;
  stream.closed = true;
  return shutdown(to.socket.get(), SHUT_WR) == 0 || errno == ENOTCONN;
}

// Looked at, sent, and only then taken: as much as was sent.
Connection::Moved Connection::move_portion(const End& from, Stream& stream, const End& to) const {
  const ssize_t count = recv(from.socket.get(), shared_.room.data(), shared_.room.size(), MSG_PEEK);
  if (count < 0) return would_block() ? Moved::kNothing : Moved::kBroken;
  if (count == 0) {
    stream.ended = true;
    return Moved::kNothing;
  }
  stream.begun = true;
  const ssize_t sent = send(to.socket.get(), shared_.room.data(), static_cast<size_t>(count), MSG_NOSIGNAL);
  if (sent < 0 && !would_block()) return Moved::kBroken;
  stream.blocked = sent < count;
  if (sent <= 0) return Moved::kNothing;
  if (recv(from.socket.get(), shared_.room.data(), static_cast<size_t>(sent), from.discards ? MSG_TRUNC : 0) != sent)
    return Moved::kBroken;
  return stream.blocked ? Moved::kNothing : Moved::kSome;
}

// Each end is waited for its next word, unless the other has no room for it; then for that.
void Connection::await_more() {
  const auto wanted = [](const Stream& from_it, const Stream& to_it) {
    const bool reads = !from_it.ended && !from_it.blocked;
    return (reads ? uint32_t{EPOLLIN} : 0U) | (to_it.blocked ? uint32_t{EPOLLOUT} : 0U);
  };
  shared_.loop.watch(client_.socket.get(), wanted(to_guest_, to_client_), client_.watched, &client_);
  shared_.loop.watch(guest_.socket.get(), wanted(to_client_, to_guest_), guest_.watched, &guest_);
}

}  // namespace slicer::runner
