#include "runner/forward/stdio.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <vector>

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// A connection that was not answered is begun anew rather than waited for: the kernel's own next try comes later and
// later, and a guest that has just come up would wait for it.
constexpr auto kOneTry = 1000ms;
constexpr auto kLongTry = 10000ms;  // when there is only one
constexpr long kPauseNs = 50'000'000;
constexpr size_t kRoom = size_t{256} << 10;

Result<void> decide(const Dialled& dialled, std::chrono::milliseconds limit) {
  pollfd polled{.fd = dialled.socket.get(), .events = POLLOUT, .revents = 0};
  int error = ETIMEDOUT;
  socklen_t size = sizeof error;
  if (poll(&polled, 1, static_cast<int>(limit.count())) > 0 &&
      getsockopt(dialled.socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0)
    error = errno;
  if (error != 0) return fail_errno(error, "connect to the guest");
  if (dialled.confirm) return dialled.confirm();
  return {};
}

Result<void> write_all(int fd, const char* bytes, size_t size) {
  while (size > 0) {
    const ssize_t count = write(fd, bytes, size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(errno, "write");
    bytes += count;
    size -= static_cast<size_t>(count);
  }
  return {};
}

// Until the end of `from`, or until nobody takes it any more.
void copy(int from, int to) {
  std::vector<char> room(kRoom);
  for (;;) {
    const ssize_t count = read(from, room.data(), room.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0 || !write_all(to, room.data(), static_cast<size_t>(count))) return;
  }
}

}  // namespace

Result<UniqueFd> connect_in_time(const std::function<Result<Dialled>()>& dial, const std::function<bool()>& alive,
                                 std::chrono::seconds limit) {
  const auto end = Clock::now() + limit;
  for (;;) {
    Result<Dialled> dialled = dial();
    // No address is known yet: a DHCP server may give one.
    Result<void> decided = dialled ? Result<void>() : std::unexpected(dialled.error());
    if (!decided && decided.error().kind != Kind::kUnavailable) return std::unexpected(decided.error());
    if (dialled) decided = decide(*dialled, limit == 0s ? kLongTry : kOneTry);
    if (decided) return std::move(dialled->socket);
    if (Clock::now() >= end || !alive()) return std::unexpected(decided.error());
    const timespec pause{.tv_sec = 0, .tv_nsec = kPauseNs};
    (void)nanosleep(&pause, nullptr);
  }
}

// Two processes with a direction each: both may block in a write, as nothing that is inherited is made non-blocking.
Result<void> carry_stdio(UniqueFd socket, int until) {
  const int flags = fcntl(socket.get(), F_GETFL);
  if (flags < 0 || fcntl(socket.get(), F_SETFL, flags & ~O_NONBLOCK) != 0)
    return fail_errno(errno, "make a socket blocking");
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) return fail_errno(errno, "start a process");
  if (child == 0) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) _exit(1);
    copy(STDIN_FILENO, socket.get());
    (void)shutdown(socket.get(), SHUT_WR);
    _exit(0);
  }
  std::vector<char> room(kRoom);
  bool over = false;
  while (!over) {
    std::array<pollfd, 2> polled = {pollfd{.fd = socket.get(), .events = POLLIN, .revents = 0},
                                    pollfd{.fd = until, .events = POLLIN, .revents = 0}};
    if (poll(polled.data(), polled.size(), -1) < 0 && errno == EINTR) continue;
    const ssize_t count = polled[0].revents != 0 ? recv(socket.get(), room.data(), room.size(), MSG_DONTWAIT) : -1;
    if (count > 0 && write_all(STDOUT_FILENO, room.data(), static_cast<size_t>(count))) continue;
    if (polled[0].revents == 0 && polled[1].revents == 0) continue;
    over = true;
    // The guest's last word: what stdin still says goes on. Whatever else it was, nothing goes on.
    if (count != 0) (void)kill(child, SIGKILL);
  }
  (void)close(STDOUT_FILENO);
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return {};
}

}  // namespace slicer::runner
