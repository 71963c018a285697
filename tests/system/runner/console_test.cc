// The console, its log, and vm new --foreground.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "tests/system/runner/runner_support.h"

namespace slicer::test {
namespace {

struct Machine {
  Host host;
  Runner runner;
};

/// slicer-run on a terminal.
class Terminal {
 public:
  /// `input`: a file in the place of the keyboard.
  explicit Terminal(const std::string& line, const std::string& input = {})
      : master_(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    if (!master_.valid() || grantpt(master_.get()) != 0 || unlockpt(master_.get()) != 0) give_up("make a terminal");
    const std::string slave_name = ptsname(master_.get());
    slave_ = UniqueFd(open(slave_name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (!slave_.valid()) give_up("open " + slave_name);
    std::vector<std::string> words = Runner::argv(line);
    pid_ = fork();
    if (pid_ != 0) return;
    for (const int fd : {0, 1, 2}) (void)dup2(slave_.get(), fd);
    if (!input.empty()) (void)dup2(open(input.c_str(), O_RDONLY | O_CLOEXEC), 0);
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    (void)execv(argv[0], argv.data());
    _exit(127);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal() {
    if (pid_ > 0) {
      (void)kill(pid_, SIGKILL);
      (void)waitpid(pid_, nullptr, 0);
    }
  }

  void type(const std::string& text) const {
    if (write(master_.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) give_up("type");
  }
  /// Reads until `text` has been shown.
  bool shows(const std::string& text) {
    return eventually(
        [&] {
          pollfd waiting{.fd = master_.get(), .events = POLLIN, .revents = 0};
          std::array<char, 4096> chunk;
          while (poll(&waiting, 1, 20) > 0 && (waiting.revents & POLLIN) != 0) {
            const ssize_t count = read(master_.get(), chunk.data(), chunk.size());
            if (count <= 0) break;
            shown_.append(chunk.data(), static_cast<size_t>(count));
          }
          return shown_.find(text) != std::string::npos;
        },
        std::chrono::seconds(20));
  }
  [[nodiscard]] const std::string& shown() const { return shown_; }
  [[nodiscard]] bool is_raw() const {
    termios mode{};
    return tcgetattr(slave_.get(), &mode) == 0 && (mode.c_lflag & ICANON) == 0;
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  /// Its exit code, -1 when it does not end.
  int wait() {
    int status = 0;
    if (!eventually([&] { return waitpid(pid_, &status, WNOHANG) == pid_; }, std::chrono::seconds(20))) return -1;
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  UniqueFd master_;
  UniqueFd slave_ = {};
  pid_t pid_ = -1;
  std::string shown_ = {};
};

/// It has done what it can: it sleeps, and has for three looks.
bool is_waiting(pid_t pid) {
  const std::string before = contents("/proc/" + std::to_string(pid) + "/stat");
  for (int look = 0; look < 3; ++look) {
    (void)usleep(20000);
    if (contents("/proc/" + std::to_string(pid) + "/stat") != before) return false;
  }
  return before.find(") S ") != std::string::npos;
}

}  // namespace

TEST_CASE("runner vm console: a terminal on the guest, the escape key leaves it and the VM runs on") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  REQUIRE(Runner::says("demo-1", "TINY-READY"));
  Terminal terminal("vm console demo-1");
  REQUIRE(terminal.shows("ctrl-] leaves it"));
  REQUIRE(eventually([&] { return terminal.is_raw(); }));
  terminal.type("hello\x03 there");  // ctrl-c is the guest's
  CHECK(terminal.shows("hello\x03 there"));

  Terminal second("vm console demo-1");
  CHECK(second.shows("hello\x03 there"));  // said before it came
  REQUIRE(eventually([&] { return second.is_raw(); }));
  second.type(" both");
  CHECK(terminal.shows("hello\x03 there both"));
  CHECK(second.shows("hello\x03 there both"));

  terminal.type("\x1d");
  CHECK(terminal.wait() == 0);
  CHECK_FALSE(terminal.is_raw());
  CHECK(Runner::vm("demo-1")["state"] == "running");

  Terminal again("vm console demo-1");
  REQUIRE(eventually([&] { return again.is_raw(); }));
  again.type("back");
  CHECK(again.shows("back"));
  again.type("q");
  CHECK(again.shows("'demo-1' has ended"));
  CHECK(again.wait() == 0);
  CHECK(Runner::gone("demo-1"));
}

TEST_CASE("runner vm console: input that is piped in may hold the escape key") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  REQUIRE(Runner::says("demo-1", "TINY-READY"));
  const Outcome outcome = Runner::run("vm console demo-1",
                                      "a\x1d"
                                      "bq");
  CHECK(outcome.exit_code == 0);
  CHECK(outcome.out ==
        "TINY-READY\r\na\x1d"
        "b");
}

TEST_CASE("runner vm console: a guest that reads nothing holds up neither a signal nor the escape key") {
  const StandInMachine machine;
  REQUIRE(Runner::start("demo-1").ok());
  REQUIRE(Runner::says("demo-1", "READY"));
  write_text("/run/much", "D" + std::string(4U << 20U, 'x'));
  for (const bool by_signal : {true, false}) {
    Terminal console("vm console demo-1", by_signal ? "/run/much" : "");
    REQUIRE(console.shows("READY"));
    if (by_signal) {
      REQUIRE(eventually([&] { return is_waiting(console.pid()); }));
      REQUIRE(kill(console.pid(), SIGTERM) == 0);
    } else {
      REQUIRE(eventually([&] { return console.is_raw(); }));
      console.type("more\x1d");
    }
    CHECK(console.wait() == 0);
  }
}

TEST_CASE("runner vm logs: what the guest wrote, and with --follow until it ends") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  REQUIRE(Runner::says("demo-1", "TINY-READY"));
  CHECK(Runner::run("vm logs demo-1").out == "TINY-READY\r\n");
  Terminal follower("vm logs --follow demo-1");
  CHECK(follower.shows("TINY-READY"));
  Terminal console("vm console demo-1");
  REQUIRE(eventually([&] { return console.is_raw(); }));
  console.type("hello");
  CHECK(follower.shows("hello"));
  console.type("q");
  CHECK(follower.wait() == 0);
}

TEST_CASE("runner vm logs: a guest's control characters do nothing to a terminal, unless --raw asks for them") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  REQUIRE(Runner::says("demo-1", "TINY-READY"));
  const std::string evil =
      "\x1b]0;owned\x07\x1b[1;31mred\x1b[0m\x9b"
      "6n";
  Terminal console("vm console demo-1");
  REQUIRE(eventually([&] { return console.is_raw(); }));
  console.type(evil);
  REQUIRE(Runner::says("demo-1", evil));
  Terminal visible("vm logs demo-1");
  CHECK(visible.shows("\n^[]0;owned^Gred\\x9b6n"));
  CHECK(visible.wait() == 0);
  CHECK(visible.shown().find('\x1b') == std::string::npos);
  Terminal raw("vm logs --raw demo-1");
  CHECK(raw.shows(evil));
  CHECK(Runner::run("vm logs demo-1").out == "TINY-READY\r\n" + evil);  // a pipe gets every byte
}

TEST_CASE("runner: a name with control characters does nothing to a terminal, whatever command it is given to") {
  const Machine machine;
  for (const char* const command : {"vm console", "vm logs", "vm rm", "vm exec", "inspect", "vm start"}) {
    CAPTURE(command);
    const Outcome refused =
        Runner::run(std::string(command) + " de\x1b[2Jmo" + (command == std::string("vm exec") ? " -- true" : ""));
    CHECK_FALSE(refused.ok());
    CHECK(refused.err.find("'de^[[2Jmo'") != std::string::npos);
    CHECK(refused.err.find('\x1b') == std::string::npos);
  }
}

TEST_CASE("runner vm new --foreground: the console, and a signal ends the VM") {
  const Machine machine;
  Terminal terminal(std::string("vm new demo-1 --foreground --network host --ram-mb 16 --kernel ") +
                    Runner::kTinyKernel);
  CHECK(terminal.shows("demo-1 runs: "));
  CHECK(terminal.shows("TINY-READY"));
  REQUIRE(kill(terminal.pid(), SIGTERM) == 0);
  CHECK(terminal.shows("shutting 'demo-1' down"));
  CHECK(terminal.wait() == 0);
  CHECK_FALSE(exists("/run/slicer/demo-1"));
}

TEST_CASE("runner vm new --foreground: returns when the guest switches itself off") {
  const Machine machine;
  Terminal terminal(std::string("vm new demo-1 --foreground --network host --ram-mb 16 --kernel ") +
                    Runner::kTinyKernel);
  REQUIRE(terminal.shows("TINY-READY"));
  terminal.type("q");
  CHECK(terminal.wait() == 0);
  CHECK_FALSE(exists("/run/slicer/demo-1"));
}

TEST_CASE("runner vm new --foreground: the escape key leaves the VM running") {
  const Machine machine;
  Terminal terminal(std::string("vm new demo-1 --foreground --network host --ram-mb 16 --kernel ") +
                    Runner::kTinyKernel);
  REQUIRE(terminal.shows("TINY-READY"));
  terminal.type("\x1d");
  CHECK(terminal.shows("left; 'demo-1' runs on"));
  CHECK(terminal.wait() == 0);
  CHECK(Runner::vm("demo-1")["state"] == "running");
}

}  // namespace slicer::test
