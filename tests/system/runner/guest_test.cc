// The demo guest on the conflists as they are shipped.
#include <doctest/doctest.h>

#include <csignal>
#include <cstdio>
#include <filesystem>

#include "tests/system/runner/runner_support.h"

namespace slicer::test {
namespace {

using namespace std::chrono_literals;

struct Machine {
  Host host;
  Runner runner;

  Machine() {
    for (const char* list : {"51-slicer.conflist", "52-slicer-private.conflist"})
      std::filesystem::copy(std::string(SLICER_CONFLIST_DIR) + "/" + list, "/etc/cni/net.d/");
    Runner::install_demo_image();
  }
};

std::string address(const std::string& name) {
  const std::string cidr = Runner::vm(name)["addresses"][0];
  return cidr.substr(0, cidr.find('/'));
}

bool answers(const std::string& name) {
  return eventually([to = address(name)] { return pings(Host::netns(), to); }, 60s);
}

std::string page(const std::string& name) {
  std::string text;
  (void)eventually(
      [&, url = "http://" + address(name) + "/"] {
        text = run({"curl", "-s", "--max-time", "2", url}).out;
        return !text.empty();
      },
      30s);
  return text;
}

}  // namespace

TEST_CASE("guest: the demo guest boots, answers, serves its page and shuts down") {
  SLICER_NEEDS_DEMO_IMAGE();
  const Machine machine;
  for (const char* network : {"slicer", "slicer-private"}) {
    CAPTURE(network);
    const Outcome made = Runner::run(std::string("vm new demo-1 --network ") + network);
    INFO(made.err);
    REQUIRE(made.ok());
    CHECK(answers("demo-1"));
    CHECK(page("demo-1").find("demo-1") != std::string::npos);
    // Its first answer was no luck: it knows its name from the command line, and the shell is there.
    REQUIRE(Runner::says("demo-1", "#"));

    const auto start = std::chrono::steady_clock::now();
    CHECK(Runner::run("vm rm demo-1").ok());
    CHECK(std::chrono::steady_clock::now() - start < 12s);  // by its power button, not by the limit of 15 s
    CHECK_FALSE(exists("/run/slicer/demo-1"));
    CHECK_FALSE(exists("/run/netns/slicer-demo-1"));
    CHECK(std::filesystem::is_empty("/var/lib/cni/results"));
  }
}

TEST_CASE("guest: the shell on the console") {
  SLICER_NEEDS_DEMO_IMAGE();
  const Machine machine;
  REQUIRE(Runner::run("vm new demo-1").ok());
  REQUIRE(answers("demo-1"));
  REQUIRE(Runner::says("demo-1", "#"));
  const Outcome console = Runner::run("vm console demo-1", "hostname | sed s/demo/name:/\npoweroff -f\n");
  INFO(console.out << console.err);
  CHECK(console.out.find("name:-1") != std::string::npos);
  CHECK(Runner::gone("demo-1"));
}

TEST_CASE("guest: the supervisor killed, the guest's address is free and its network works for the next") {
  SLICER_NEEDS_DEMO_IMAGE();
  const Machine machine;
  REQUIRE(Runner::run("vm new demo-1").ok());
  const Json vm = Runner::vm("demo-1");
  REQUIRE(kill(vm["supervisorPid"], SIGKILL) == 0);
  REQUIRE(eventually([&] { return !runs(vm["hypervisorPid"]); }));
  const Outcome collected = Runner::run("gc");
  CHECK(collected.ok());
  CHECK(Runner::vm("demo-1") == nullptr);
  CHECK_FALSE(run({"ip", "link", "show", "vmtap0"}).ok());
  REQUIRE(Runner::run("vm new demo-1").ok());
  CHECK(answers("demo-1"));
}

}  // namespace slicer::test
