#include "runner/hypervisor/vmm_api.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>

#include "lib/base/unique_fd.h"

namespace slicer::runner {
namespace {

using Deadline = std::chrono::steady_clock::time_point;

constexpr size_t kMaxAnswer = 1U << 20U;  // Cloud Hypervisor's vm.info is some KiB long
constexpr std::string_view kEndOfHead = "\r\n\r\n";

// Not where a link leads that the hypervisor's user has put in its place; and a socket's own name may be too long.
Result<UniqueFd> connect_to(const std::string& path) {
  const UniqueFd place(open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat info{};
  if (!place.valid() || fstat(place.get(), &info) != 0)
    return fail(Kind::kUnavailable, "connect to '" + path + "': " + errno_text(errno));
  if (!S_ISSOCK(info.st_mode)) return fail(Kind::kInternal, "connect to '" + path + "': not a socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = fmt::format("/proc/self/fd/{}", place.get());
  (void)name.copy(address.sun_path, sizeof address.sun_path - 1);
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return fail_errno(errno, "make a socket");
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail(Kind::kUnavailable, "connect to '" + path + "': " + errno_text(errno));
  return socket;
}

Error gone() { return {.kind = Kind::kUnavailable, .message = "the hypervisor closed its API's socket"}; }

Result<void> wait_until(int fd, short events, Deadline deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  pollfd entry{.fd = fd, .events = events, .revents = 0};
  if (left.count() > 0 && poll(&entry, 1, static_cast<int>(left.count())) > 0) return {};
  return fail(Kind::kBusy, "no answer from the hypervisor's API in time");
}

Result<void> send_all(int fd, std::string_view text, Deadline deadline) {
  while (!text.empty()) {
    const ssize_t count = send(fd, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno != EAGAIN && errno != EINTR) return std::unexpected(gone());
    if (count < 0)
      TRY(wait_until(fd, POLLOUT, deadline));
    else
      text.remove_prefix(static_cast<size_t>(count));
  }
  return {};
}

Result<void> receive_some(int fd, std::string& text, Deadline deadline) {
  TRY(wait_until(fd, POLLIN, deadline));
  std::array<char, 4096> chunk;
  const ssize_t count = recv(fd, chunk.data(), chunk.size(), MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  if (count <= 0) return std::unexpected(gone());
  text.append(chunk.data(), static_cast<size_t>(count));
  if (text.size() > kMaxAnswer) return fail(Kind::kDecode, "read from the hypervisor's API: an answer without end");
  return {};
}

Result<ApiAnswer> receive_answer(int fd, Deadline deadline) {
  std::string text;
  size_t end = std::string::npos;
  while ((end = text.find(kEndOfHead)) == std::string::npos) TRY(receive_some(fd, text, deadline));
  const ApiHead head = TRY(parse_api_head(std::string_view(text).substr(0, end)));
  const size_t begin = end + kEndOfHead.size();
  while (text.size() - begin < head.body_bytes) TRY(receive_some(fd, text, deadline));
  return ApiAnswer{.status = head.status, .body = text.substr(begin, head.body_bytes)};
}

bool is_header(std::string_view line, std::string_view name) {
  if (line.size() <= name.size() || line[name.size()] != ':') return false;
  for (size_t i = 0; i < name.size(); ++i)
    if (std::tolower(static_cast<unsigned char>(line[i])) != name[i]) return false;
  return true;
}

}  // namespace

Result<ApiHead> parse_api_head(std::string_view head) {
  const auto bad = [&] {
    return fail(Kind::kDecode, fmt::format("read from the hypervisor's API: '{}'", head.substr(0, head.find('\r'))));
  };
  ApiHead parsed;
  if (!head.starts_with("HTTP/1.") || head.size() < 12) return bad();
  if (std::from_chars(head.data() + 9, head.data() + 12, parsed.status).ptr != head.data() + 12) return bad();
  for (size_t at = head.find("\r\n"); at != std::string_view::npos; at = head.find("\r\n", at + 2)) {
    std::string_view line = head.substr(at + 2);
    line = line.substr(0, line.find("\r\n"));
    if (!is_header(line, "content-length")) continue;
    line.remove_prefix(std::min(line.find_first_of("0123456789"), line.size()));
    if (std::from_chars(line.data(), line.data() + line.size(), parsed.body_bytes).ec != std::errc()) return bad();
    if (parsed.body_bytes > kMaxAnswer) return bad();
  }
  return parsed;
}

Result<ApiAnswer> call_api(const std::string& socket, const ApiRequest& request, std::chrono::milliseconds limit) {
  const Deadline deadline = std::chrono::steady_clock::now() + limit;
  const UniqueFd connection = TRY(connect_to(socket));
  std::string text =
      fmt::format("{} {} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n", request.method, request.path);
  if (!request.body.empty())
    text += fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n", request.body.size());
  text += "\r\n" + request.body;
  TRY(send_all(connection.get(), text, deadline));
  return receive_answer(connection.get(), deadline);
}

Result<ApiAnswer> order_api(const std::string& socket, const ApiRequest& request, std::chrono::milliseconds limit) {
  const std::string action = fmt::format("{} {}", request.method, request.path);
  ApiAnswer answer = TRY(call_api(socket, request, limit).context(action));
  if (answer.status >= 200 && answer.status < 300) return answer;
  return fail(Kind::kInternal, fmt::format("{}: the hypervisor answers {}: {}", action, answer.status, answer.body));
}

}  // namespace slicer::runner
