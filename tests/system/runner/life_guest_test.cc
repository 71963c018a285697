// A real guest's disk and console over its stops and starts.
#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/system/runner/runner_support.h"

namespace slicer::test {
namespace {

using namespace std::chrono_literals;

struct Machine {
  Host host;
  Runner runner;

  Machine() {
    std::filesystem::copy(std::string(SLICER_CONFLIST_DIR) + "/51-slicer.conflist", "/etc/cni/net.d/");
    Runner::install_demo_image();
  }
};

bool answers(const std::string& name) {
  const std::string cidr = Runner::vm(name)["addresses"][0];
  return eventually([to = cidr.substr(0, cidr.find('/'))] { return pings(Host::netns(), to); }, 60s);
}

/// A viewer of the console that only looks on; what it sees is in the file.
Background viewer(const std::string& file) {
  return Background({"sh", "-c", "exec " + Runner::argv("")[0] + " vm console demo-1 </dev/null >" + file}, "");
}

bool shows(const std::string& file, const std::string& text) {
  return eventually([&] { return contents(file).find(text) != std::string::npos; }, 20s);
}

}  // namespace

TEST_CASE("life guest: what a guest writes on its disk outlives stop, start and restart, and the image stays") {
  SLICER_NEEDS_DEMO_IMAGE();
  const Machine machine;
  std::ofstream("/run/base.img") << "of-the-image";
  std::filesystem::resize_file("/run/base.img", 1 << 20);
  const std::string image = contents("/run/base.img");
  const Outcome made = Runner::run("vm new demo-1 --disk /run/base.img --storage 32M");
  INFO(made.err);
  REQUIRE(made.ok());
  const Json first = Runner::vm("demo-1");
  REQUIRE(answers("demo-1"));
  {
    const Background one = viewer("/run/one");
    const Background two = viewer("/run/two");
    CHECK(Runner::guest_does("demo-1", "grep -q of-the-image /dev/vda"));
    CHECK(shows("/run/one", "it-worked"));
    CHECK(shows("/run/two", "it-worked"));
  }
  CHECK(Runner::guest_does("demo-1", "test $(cat /sys/class/block/vda/size) = 65536"));
  REQUIRE(Runner::guest_does("demo-1", "echo kept-by-the-guest | dd of=/dev/vda bs=1M seek=20 conv=fsync,notrunc"));
  REQUIRE(Runner::guest_does("demo-1", "echo over-the-image | dd of=/dev/vda conv=fsync,notrunc"));

  CHECK(Runner::run("vm stop demo-1").out == "demo-1 is stopped\n");
  CHECK(contents("/run/base.img") == image);
  const Outcome started = Runner::run("vm start demo-1");
  INFO(started.err);
  REQUIRE(started.ok());
  CHECK(Runner::vm("demo-1")["mac"] == first["mac"]);
  CHECK(Runner::vm("demo-1")["addresses"] == first["addresses"]);
  REQUIRE(answers("demo-1"));
  CHECK(Runner::guest_does("demo-1", "dd if=/dev/vda bs=1M skip=20 count=1 | grep -q kept-by-the-guest"));
  CHECK(Runner::guest_does("demo-1", "grep -q over-the-image /dev/vda"));
  CHECK(Runner::run("vm restart demo-1 --now").ok());
  CHECK(Runner::run("vm rm demo-1 --now").ok());
  CHECK_FALSE(exists("/var/lib/slicer/vms/demo-1"));
}

}  // namespace slicer::test
