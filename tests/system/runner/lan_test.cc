// VMs on the LAN as slicer-run has them, without a guest that talks.
#include <doctest/doctest.h>

#include <cstdio>
#include <fstream>

#include "tests/system/macvtap/macvtap_support.h"
#include "tests/system/runner/runner_support.h"

namespace slicer::test {
namespace {

struct Lan {
  Host host;
  Surroundings around;
  Runner runner;

  Lan() {
    std::ofstream("/etc/cni/net.d/lan.conflist")
        << Json{{"cniVersion", "1.0.0"}, {"name", "lan"}, {"plugins", {macvtap::quick_conf()}}}.dump();
  }
  static bool can_run() {
    const bool can = run(words("ip link add link lan0 name probe type macvtap")).ok();
    if (can) (void)must("ip link del probe");
    return can;
  }
};

}  // namespace

TEST_CASE(
    "runner lan: the parent goes down and up, and is deleted under a running VM: list tells, vm rm leaves nothing") {
  const Lan lan;
  if (!Lan::can_run()) SLICER_SKIP("no macvtap in this kernel");
  const Outcome started = Runner::start("vm-1", "lan");
  INFO(started.err);
  REQUIRE(started.ok());
  (void)must("ip link set lan0 down");
  (void)must("ip link set lan0 up");
  CHECK(Runner::vm("vm-1")["linkGone"] == false);
  CHECK(Runner::run("list").out.find("running  ") != std::string::npos);

  (void)must("ip link del lan0");
  CHECK(eventually([] { return Runner::vm("vm-1")["linkGone"] == true; }));
  CHECK(Runner::vm("vm-1")["state"] == "running");  // the guest is
  CHECK(Runner::run("list").out.find("running, no link  ") != std::string::npos);
  const Outcome removed = Runner::run("vm rm vm-1");
  INFO(removed.err);
  CHECK(removed.ok());
  CHECK(Runner::gone("vm-1"));
  CHECK_FALSE(exists("/run/netns/slicer-vm-1"));
  CHECK(must("find /var/lib/cni/networks/lan -name 198.51.100.*") == "");
  CHECK(Runner::run("gc").out == "nothing to remove\n");
}

}  // namespace slicer::test
