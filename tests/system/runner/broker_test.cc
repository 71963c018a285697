// The console's broker: several viewers, those that do not read, what was there before them, and what it costs.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <sstream>

#include "lib/base/unique_fd.h"
#include "runner/process/unix_socket.h"
#include "tests/system/runner/runner_support.h"

namespace slicer::test {
namespace {

using Machine = StandInMachine;

/// A viewer of demo-1's console.
class Viewer {
 public:
  Viewer() {
    auto socket = runner::connect_to("/run/slicer/demo-1/console.sock");
    if (!socket) give_up(socket.error().message);
    socket_ = std::move(*socket);
  }
  void type(const std::string& text) const {
    if (send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size()))
      give_up("type");
  }
  void close_input() const { (void)shutdown(socket_.get(), SHUT_WR); }
  /// Reads until `text` has come.
  bool shows(const std::string& text) {
    return eventually(
        [&] {
          read_some(20);
          return shown_.find(text) != std::string::npos;
        },
        std::chrono::seconds(20));
  }
  std::string first_words() {
    (void)eventually([&] { return !read_some(20) || !shown_.empty(); });
    return shown_;
  }
  bool ends() {
    return eventually([&] { return !read_some(20); });
  }
  void forget() { shown_.clear(); }
  [[nodiscard]] const std::string& shown() const { return shown_; }

 private:
  /// False at the end.
  bool read_some(int limit_ms) {
    pollfd waiting{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    while (poll(&waiting, 1, limit_ms) > 0) {
      std::array<char, 65536> chunk;
      const ssize_t count = recv(socket_.get(), chunk.data(), chunk.size(), 0);
      if (count <= 0) return false;
      shown_.append(chunk.data(), static_cast<size_t>(count));
      limit_ms = 0;
    }
    return true;
  }

  UniqueFd socket_ = {};
  std::string shown_ = {};
};

pid_t supervisor() { return Runner::vm("demo-1")["supervisorPid"]; }

/// Of a process: what it wrote to, in KiB. Not its code: all supervisors share that, and a debug build's is large.
long private_kib(pid_t pid) {
  // A program that was linked a moment ago is not on the disk yet, and such pages count as dirty ones of who maps them.
  const UniqueFd program(open(("/proc/" + std::to_string(pid) + "/exe").c_str(), O_RDONLY | O_CLOEXEC));
  (void)fsync(program.get());
  std::istringstream text(contents("/proc/" + std::to_string(pid) + "/smaps_rollup"));
  long sum = 0;
  for (std::string line; std::getline(text, line);)
    if (line.starts_with("Private_Dirty:") || line.starts_with("Private_Hugetlb:"))
      sum += std::atol(line.c_str() + line.find(':') + 1);
  return sum;
}

/// How often it was woken up or pushed aside so far.
long switches(pid_t pid) {
  const std::string status = contents("/proc/" + std::to_string(pid) + "/status");
  const size_t at = status.find("\nvoluntary_ctxt_switches:");
  return at == std::string::npos ? -1 : std::atol(status.c_str() + status.find(':', at) + 1);
}

/// Waits until it is hardly woken up between one look and the next.
bool has_settled(pid_t pid) {
  return eventually([&] {
    const long now = switches(pid);
    (void)usleep(200000);
    return switches(pid) - now < 5;
  });
}

}  // namespace

TEST_CASE("broker: every viewer sees all, also what was there before it, and each may type") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  Viewer first;
  CHECK(first.shows("STAND-IN-READY\r\n"));
  first.type("one");
  CHECK(first.shows("one"));
  Viewer second;
  CHECK(second.shows("STAND-IN-READY\r\none"));
  second.type("two");
  CHECK(first.shows("onetwo"));
  CHECK(second.shows("onetwo"));
  {
    Viewer third;
    CHECK(third.shows("onetwo"));
  }  // gone
  first.close_input();  // it may look on
  second.type("three");
  CHECK(first.shows("onetwothree"));
  CHECK(contents("/run/slicer/demo-1/console.log") == "STAND-IN-READY\r\nonetwothree");
  second.type("last words");
  second.type("q");
  CHECK(first.shows("last words"));
  CHECK(first.ends());
  CHECK(second.ends());
}

TEST_CASE("broker: what is typed and left at once reaches the guest") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  for (int round = 0; round < 20; ++round) {
    const std::string word = "round" + std::to_string(round) + ".";
    Viewer().type(word);
    CHECK(Runner::says("demo-1", word));
  }
}

TEST_CASE("broker: one that never reads holds up neither the guest nor the others, and costs no memory") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  Viewer deaf;
  Viewer reader;
  REQUIRE(reader.shows("READY"));
  const long before = private_kib(supervisor());
  for (int round = 0; round < 2; ++round) {
    reader.type("F");  // 8 MiB
    const std::string end = "FLOOD-END\r\nF";
    REQUIRE(reader.shows(end));
    reader.forget();
  }
  CHECK(private_kib(supervisor()) < before + 512);
  // Bounded, with its end.
  const std::string log = contents("/run/slicer/demo-1/console.log");
  CHECK(log.size() < (6U << 20));
  CHECK(log.starts_with("[the log was cut here]\n"));
  // Who was too slow is told, and is up to date again.
  CHECK(deaf.shows("bytes were not shown]"));
  CHECK(deaf.shows("FLOOD-END"));
  deaf.type("here");
  CHECK(deaf.shows("here"));
}

TEST_CASE("broker: a new viewer gets 64 KiB of what was before it, not more") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  Viewer().type("F");
  REQUIRE(Runner::says("demo-1", "FLOOD-END\r\nF"));
  Viewer late;
  REQUIRE(late.shows("FLOOD-END\r\nF"));
  CHECK(late.shown().size() == 65536);
}

TEST_CASE("broker: a guest that does not read its serial line: who types waits, and all else goes on") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  Viewer viewer;
  viewer.type("D");
  REQUIRE(Runner::says("demo-1", "D"));
  const Background typist([] {
    const Viewer other;
    for (;;) other.type(std::string(65536, 'x'));
  });
  const pid_t pid = supervisor();
  Viewer late;
  CHECK(late.shows("READY"));
  CHECK(has_settled(pid));  // it does not turn in circles
  CHECK(private_kib(pid) < 4096);
  CHECK(Runner::run("vm rm demo-1 --now").ok());
}

TEST_CASE("broker: a supervisor that has nothing to do is not woken up, and is small") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  const Viewer viewer;
  REQUIRE(Runner::says("demo-1", "READY"));
  const pid_t pid = supervisor();
  REQUIRE(has_settled(pid));
  const long before = switches(pid);
  (void)usleep(2500000);  // longer than its shortest interval was
  CHECK(switches(pid) == before);
  MESSAGE("private memory: " << private_kib(pid) << " KiB");
  CHECK(private_kib(pid) < 4096);
}

TEST_CASE("broker: the guest reboots: the same VM on the same network, and its viewers stay") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  Viewer viewer;
  REQUIRE(viewer.shows("READY"));
  const Json before = Runner::vm("demo-1");
  viewer.forget();
  viewer.type("before");
  REQUIRE(viewer.shows("before"));
  viewer.type("R");
  CHECK(viewer.shows("STAND-IN-READY"));
  viewer.type("behind");
  CHECK(viewer.shows("behind"));
  const Json after = Runner::vm("demo-1");
  CHECK(after["state"] == "running");
  CHECK(after["supervisorPid"] == before["supervisorPid"]);
  CHECK(after["hypervisorPid"] != before["hypervisorPid"]);
  CHECK(runs(after["hypervisorPid"]));
  CHECK(after["addresses"] == before["addresses"]);
  CHECK(Runner::calls().size() == 1);
  CHECK(contents("/run/slicer/demo-1/console.log") == "STAND-IN-READY\r\nbeforeSTAND-IN-READY\r\nbehind");
  CHECK(Runner::run("vm rm demo-1").ok());
}

TEST_CASE("broker: a guest that is reset again and again gets nowhere, and ends") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1", "host", "--cmdline loop").ok());
  CHECK(Runner::gone("demo-1"));
  CHECK(Runner::calls().size() == 2);
}

TEST_CASE("broker: too many viewers are told so") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  std::vector<Viewer> viewers(32);
  for (Viewer& viewer : viewers) REQUIRE(viewer.shows("READY"));
  Viewer one_more;
  CHECK(one_more.shows("too many look at this console"));
  CHECK(one_more.ends());
  viewers.pop_back();
  CHECK(eventually([] { return Viewer().first_words().starts_with("STAND-IN-READY"); }));
}

}  // namespace slicer::test
