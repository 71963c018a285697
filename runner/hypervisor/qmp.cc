#include "runner/hypervisor/qmp.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "lib/cni/json.h"

namespace slicer::runner {
namespace {

// QEMU's longest answers to what we ask are a few hundred bytes.
constexpr size_t kMaxLine = 1U << 16U;
constexpr int kChunksAtOnce = 16;  // then all else has its turn: one that its guest has taken over may never stop

Error gone() { return {.kind = Kind::kUnavailable, .message = "QEMU closed its control socket"}; }

}  // namespace

Result<std::string> Qmp::read_line(Deadline deadline) {
  for (;;) {
    if (const size_t end = buffer_.find('\n'); end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    if (buffer_.size() > kMaxLine) return fail(Kind::kDecode, "read from QEMU: a line without end");
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd entry{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    if (left.count() <= 0 || poll(&entry, 1, static_cast<int>(left.count())) == 0)
      return fail(Kind::kBusy, "no answer from QEMU in time");
    std::array<char, 4096> chunk{};
    const ssize_t count = recv(socket_.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (count <= 0) return std::unexpected(gone());
    buffer_.append(chunk.data(), static_cast<size_t>(count));
  }
}

Result<void> Qmp::await_answer(const std::string& what, Deadline deadline) {
  for (;;) {
    const cni::Json message = TRY(cni::parse_json(TRY(read_line(deadline))).context("read from QEMU"));
    if (!message.is_object()) return fail(Kind::kDecode, "read from QEMU: not an object");
    if (message.contains("return") || message.contains("QMP")) return {};
    if (message.contains("error")) return fail(Kind::kInternal, what + ": " + cni::dump_json(message["error"]));
  }
}

Result<void> Qmp::handshake(std::chrono::milliseconds limit) {
  const Deadline deadline = std::chrono::steady_clock::now() + limit;
  TRY(await_answer("greeting", deadline));
  return execute("qmp_capabilities",
                 std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()));
}

Result<void> Qmp::execute(const std::string& command, std::chrono::milliseconds limit) {
  const std::string line = "{\"execute\":\"" + command + "\"}\n";
  if (send(socket_.get(), line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size()))
    return std::unexpected(gone());
  return await_answer(command, std::chrono::steady_clock::now() + limit);
}

bool Qmp::drop_events() {
  std::array<char, 4096> chunk{};
  for (int i = 0; i < kChunksAtOnce; ++i) {
    const ssize_t count = recv(socket_.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (count == 0) return false;
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    buffer_.append(chunk.data(), static_cast<size_t>(count));
    // {"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}, …}: QEMU, qapi/run-state.json
    saw_reset_ = saw_reset_ || buffer_.find("\"guest-reset\"") != std::string::npos;
    buffer_.erase(0, buffer_.rfind('\n') + 1);  // what is left is the beginning of a line; npos + 1 is 0
    if (buffer_.size() > kMaxLine) return false;
  }
  return true;
}

}  // namespace slicer::runner
