#include "runner/hypervisor/qmp.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>

namespace slicer::runner {
namespace {

struct Line {
  Line() {
    std::array<int, 2> ends = {-1, -1};
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    qmp = Qmp(UniqueFd(ends[0]));
    qemu = UniqueFd(ends[1]);
    REQUIRE(fcntl(qemu.get(), F_SETFL, O_NONBLOCK) == 0);
  }
  /// As much as there is room for.
  size_t fill() const {
    const std::string events(4096, '\n');
    size_t all = 0;
    for (ssize_t count = 0; (count = write(qemu.get(), events.data(), events.size())) > 0;)
      all += static_cast<size_t>(count);
    return all;
  }
  Qmp qmp;
  UniqueFd qemu;
};

}  // namespace

TEST_CASE("Qmp: one that says more and more keeps nobody from anything else") {
  Line line;
  REQUIRE(line.fill() > (64U << 10U));
  CHECK(line.qmp.drop_events());
  std::array<char, 1> more{};
  CHECK(recv(line.qmp.fd(), more.data(), more.size(), MSG_PEEK | MSG_DONTWAIT) == 1);  // for the next time
  for (int i = 0; i < 100; ++i) CHECK(line.qmp.drop_events());
  CHECK(recv(line.qmp.fd(), more.data(), more.size(), MSG_PEEK | MSG_DONTWAIT) == -1);
}

TEST_CASE("Qmp: a reset is seen among other events, the end is an end") {
  Line line;
  const std::string text =
      "{\"event\": \"RTC_CHANGE\"}\n{\"event\": \"SHUTDOWN\", \"data\": {\"reason\": \"guest-reset\"}}\n";
  REQUIRE(write(line.qemu.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  CHECK(line.qmp.drop_events());
  CHECK(line.qmp.saw_reset());
  line.qemu.reset();
  CHECK_FALSE(line.qmp.drop_events());
}

}  // namespace slicer::runner
