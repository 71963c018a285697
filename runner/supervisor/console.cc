#include "runner/supervisor/console.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/visible_text.h"
#include "lib/base/whole_file.h"
#include "runner/print.h"
#include "runner/process/unix_socket.h"
#include "runner/state/vm_files.h"
#include "runner/supervisor/signals.h"

namespace slicer::runner {
namespace {

constexpr char kEscape = 0x1d;  // ctrl-]
constexpr int kFollowIntervalMs = 500;
constexpr size_t kMaxTyped = size_t{64} << 10;  // read ahead, so that the escape key is seen

using Chunk = std::array<char, 16384>;

/// Raw mode as long as it lives, when stdin is a terminal.
class RawTerminal {
 public:
  RawTerminal() {
    if (tcgetattr(STDIN_FILENO, &before_) != 0) return;
    termios raw = before_;
    cfmakeraw(&raw);
    changed_ = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal() {
    if (changed_) (void)tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  [[nodiscard]] bool is_terminal() const { return changed_; }

 private:
  termios before_ = {};
  bool changed_ = false;
};

class Session {
 public:
  Session(const UniqueFd& socket, const Signals& signals) : socket_(socket), signals_(signals) {}

  Result<ConsoleEnd> run() {
    for (;;) {
      const short console = typed_.empty() ? POLLIN : POLLIN | POLLOUT;
      const bool listens = input_open_ && typed_.size() < kMaxTyped;
      std::array<pollfd, 3> waiting = {{{.fd = socket_.get(), .events = console, .revents = 0},
                                        {.fd = listens ? STDIN_FILENO : -1, .events = POLLIN, .revents = 0},
                                        {.fd = signals_.fd(), .events = POLLIN, .revents = 0}}};
      if (poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) return fail_errno(errno, "wait for input");
      if ((waiting[0].revents & ~POLLOUT) != 0 && !TRY(pass_output())) return ConsoleEnd::kVmEnded;
      if (waiting[1].revents != 0 && !take_input()) return ConsoleEnd::kDetached;
      if (!typed_.empty()) send_typed();
      if (waiting[2].revents != 0) return ConsoleEnd::kSignal;
    }
  }

 private:
  // False at the console's end.
  Result<bool> pass_output() {
    Chunk chunk;
    const ssize_t count = recv(socket_.get(), chunk.data(), chunk.size(), 0);
    if (count <= 0) return false;
    TRY(print({chunk.data(), static_cast<size_t>(count)}));
    return true;
  }

  // False at the escape key. Only a terminal has one: what is piped in may hold any byte.
  bool take_input() {
    Chunk chunk;
    const ssize_t count = read(STDIN_FILENO, chunk.data(), chunk.size());
    if (count <= 0) {
      input_open_ = false;
      return !terminal_.is_terminal();
    }
    const std::string_view text(chunk.data(), static_cast<size_t>(count));
    const size_t escape = terminal_.is_terminal() ? text.find(kEscape) : std::string_view::npos;
    typed_ += text.substr(0, escape);
    if (escape == std::string_view::npos) return true;
    send_typed();
    return false;
  }

  // As much as there is room for: while the guest does not read, the console takes no more. Its end is seen by
  // pass_output().
  void send_typed() {
    const ssize_t count = send(socket_.get(), typed_.data(), typed_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count > 0)
      typed_.erase(0, static_cast<size_t>(count));
    else if (count < 0 && errno != EAGAIN && errno != EINTR)
      typed_.clear();
  }

  const UniqueFd& socket_;
  const Signals& signals_;
  RawTerminal terminal_ = {};
  std::string typed_ = {};  ///< what the console has not taken yet
  bool input_open_ = true;
};

Error not_running(const std::string& name) {
  return {.kind = Kind::kUnavailable,
          .message = "VM '" + name + "' is not running",
          .hint = "slicer-run vm logs " + name + " shows what it wrote, slicer-run vm rm " + name + " cleans up"};
}

/// One file that is shown as it grows.
class ShownLog {
 public:
  ShownLog(std::string path, bool visible) : path_(std::move(path)), visible_(visible) {}

  /// Error: kNotFound, kSystem.
  Result<void> open() {
    file_ = UniqueFd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    return file_.valid() ? Result<void>{} : fail_errno(errno, "open '" + path_ + "'");
  }
  /// Writes what is new; a log that became shorter was cut, and goes on at its beginning.
  Result<void> show_rest() {
    if (!file_.valid() && !open()) return {};  // it comes with its first line
    struct stat info{};
    if (fstat(file_.get(), &info) == 0 && info.st_size < offset_) offset_ = 0;
    Chunk chunk;
    for (;;) {
      const ssize_t count = pread(file_.get(), chunk.data(), chunk.size(), offset_);
      if (count < 0) return fail(Kind::kIo, "read the log: " + errno_text(errno));
      if (count == 0) return {};
      const std::string_view bytes(chunk.data(), static_cast<size_t>(count));
      TRY(visible_ ? print(text_.take(bytes)) : print(bytes));
      offset_ += count;
    }
  }
  /// Nothing more comes.
  Result<void> finish() { return print(text_.rest()); }

 private:
  std::string path_;
  bool visible_;
  VisibleText text_ = {};
  UniqueFd file_ = {};
  off_t offset_ = 0;
};

}  // namespace

Result<ConsoleEnd> attach_console(const Settings& settings, const VmRecord& record) {
  const VmFiles files = vm_files(settings, record.name);
  if (!is_alive(record)) return std::unexpected(not_running(record.name));
  const Result<UniqueFd> socket = connect_to(files.console_socket);
  if (!socket) return std::unexpected(not_running(record.name));
  const Signals signals = TRY(Signals::block());
  return Session(*socket, signals).run();
}

Result<void> show_log(const Settings& settings, const VmRecord& record, const LogWish& wish) {
  const VmFiles files = vm_files(settings, record.name);
  std::vector<ShownLog> logs;
  if (wish.console) {
    logs.emplace_back(files.console_log, wish.visible);
    TRY(logs.back().open());
  }
  if (wish.packets) logs.emplace_back(files.packet_log, wish.visible);
  const UniqueFd supervisor = open_process(record.supervisor);
  const UniqueFd changes(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  // The folder's: a log that is not there yet is made in it. Without inotify it goes by the interval.
  if (changes.valid()) (void)inotify_add_watch(changes.get(), files.folder.c_str(), IN_MODIFY | IN_CREATE);
  for (;;) {
    const bool ended = !supervisor.valid() || wait_for_end(supervisor, 0);  // before the last look
    for (ShownLog& log : logs) {
      TRY(log.show_rest());
      if (!wish.follow || ended) TRY(log.finish());
    }
    if (!wish.follow || ended) return {};
    std::array<pollfd, 2> waiting = {{{.fd = changes.get(), .events = POLLIN, .revents = 0},
                                      {.fd = supervisor.get(), .events = POLLIN, .revents = 0}}};
    (void)poll(waiting.data(), waiting.size(), kFollowIntervalMs);
    Chunk events;
    (void)!read(changes.get(), events.data(), events.size());  // only that there was one
  }
}

}  // namespace slicer::runner
