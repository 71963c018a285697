#include "runner/forward/listen.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace slicer::runner {
namespace {

constexpr int kBacklog = 1024;

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

Result<Bound> bind_port(const ForwardSpec& spec) {
  const bool udp = spec.transport == Transport::kUdp;
  const std::string action = "listen on " + listen_text(spec, spec.listen_port);
  UniqueFd fd(
      socket(addr::af_of(spec.listen.family()), (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return fail_errno(errno, action);
  const int on = 1;
  // Of UDP it would let a second program take the port.
  if (!udp) (void)setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (!spec.listen.is_v4()) (void)setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  Result<void> bound = bind_to(fd.get(), spec);
  if (bound && !udp && ::listen(fd.get(), kBacklog) != 0) bound = std::unexpected(errno_error(errno, ""));
  if (!bound) {
    const int err = bound.error().sys_errno;
    Error error = errno_error(err, action);
    if (err == EADDRINUSE) error.kind = Kind::kBusy;
    if (err == EADDRINUSE) error.hint = "choose another port; 0 lets the kernel choose";
    return std::unexpected(std::move(error));
  }
  Bound result;
  result.port = TRY(port_of(fd.get()));
  result.socket = std::move(fd);
  return result;
}

sockaddr_un unix_address(const std::string& path) {
  sockaddr_un at = {};
  at.sun_family = AF_UNIX;
  std::memcpy(&at.sun_path, path.c_str(), path.size() + 1);  // parse_forward() has checked its length
  return at;
}

// What an earlier relay left, if it is a socket that nobody listens on.
Result<void> remove_stale(const std::string& path, const std::string& action) {
  struct stat info{};
  if (lstat(path.c_str(), &info) != 0) return {};
  if (!S_ISSOCK(info.st_mode))
    return fail(Kind::kExists, action + ": there is something that is no socket", "choose another path");
  const UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const sockaddr_un at = unix_address(path);
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0 || errno != ECONNREFUSED)
    return fail(Kind::kBusy, action + ": another program listens there", "choose another path");
  if (unlink(path.c_str()) != 0) return fail_errno(errno, action);
  return {};
}

Result<Bound> bind_path(const std::string& path) {
  const std::string action = "listen on " + path;
  TRY(remove_stale(path, action));
  Bound result;
  result.socket = UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const sockaddr_un at = unix_address(path);
  // Who may connect is decided by the file's mode, from its first moment on.
  const mode_t before = umask(0177);
  const int bound = bind(result.socket.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at);
  const int err = errno;
  (void)umask(before);
  if (bound != 0) return fail_errno(err, action);
  if (::listen(result.socket.get(), kBacklog) != 0) return fail_errno(errno, action);
  return result;
}

}  // namespace

Result<Bound> bind_listener(const ForwardSpec& spec) {
  return spec.listen_path.empty() ? bind_port(spec) : bind_path(spec.listen_path);
}

}  // namespace slicer::runner
