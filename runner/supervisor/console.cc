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
#include "runner/state/vm_files.h"
#include "runner/supervisor/console_socket.h"
#include "runner/supervisor/signals.h"

namespace slicer::runner {
namespace {

constexpr char kEscape = 0x1d;  // ctrl-]
constexpr int kFollowIntervalMs = 500;

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

Result<void> send_all(int socket, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = send(socket, text.data(), text.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(errno, "write to the console");
    text.remove_prefix(static_cast<size_t>(count));
  }
  return {};
}

class Session {
 public:
  Session(const UniqueFd& socket, const Signals& signals) : socket_(socket), signals_(signals) {}

  Result<ConsoleEnd> run() {
    for (;;) {
      std::array<pollfd, 3> waiting = {{{.fd = socket_.get(), .events = POLLIN, .revents = 0},
                                        {.fd = input_open_ ? STDIN_FILENO : -1, .events = POLLIN, .revents = 0},
                                        {.fd = signals_.fd(), .events = POLLIN, .revents = 0}}};
      if (poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) return fail_errno(errno, "wait for input");
      if (waiting[0].revents != 0 && !TRY(pass_output())) return ConsoleEnd::kVmEnded;
      if (waiting[1].revents != 0 && !TRY(pass_input())) return ConsoleEnd::kDetached;
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
  Result<bool> pass_input() {
    Chunk chunk;
    const ssize_t count = read(STDIN_FILENO, chunk.data(), chunk.size());
    if (count <= 0) {
      input_open_ = false;
      return !terminal_.is_terminal();
    }
    const std::string_view text(chunk.data(), static_cast<size_t>(count));
    const size_t escape = terminal_.is_terminal() ? text.find(kEscape) : std::string_view::npos;
    if (!send_all(socket_.get(), text.substr(0, escape))) return true;  // its end is seen by pass_output()
    return escape == std::string_view::npos;
  }

  const UniqueFd& socket_;
  const Signals& signals_;
  RawTerminal terminal_ = {};
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
  const Result<UniqueFd> socket = connect_to(files.folder, files.console_socket);
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
