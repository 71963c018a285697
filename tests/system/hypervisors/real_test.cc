// Firecracker and Cloud Hypervisor themselves, as far as this machine has them: real boots in every mode where KVM
// works; where only a /dev/kvm is there that makes machines and does not run them, to the point where the TAP is open.
#include <doctest/doctest.h>

#include <fstream>

#include "lib/net/link.h"
#include "runner/hypervisor/kinds.h"
#include "tests/system/hypervisors/vmm_support.h"
#include "tests/system/isolated/isolated_support.h"
#include "tests/system/macvtap/macvtap_support.h"

namespace slicer::test {
namespace {

Outcome start(const std::string& vmm, const std::string& network) {
  return Runner::run("vm new v --network " + network + " --hypervisor " + vmm);
}

/// What is missing for real boots, or empty.
std::string missing(const std::string& vmm) {
  const auto program = runner::find_hypervisor(*runner::find_hypervisor_kind(vmm).value(), "");
  if (!program) return program.error().message;
  const std::string no_kvm = runner::why_no_kvm(runner::probe_kvm());
  return no_kvm.empty() ? "" : vmm + " is there, but KVM does not work: " + no_kvm;
}

void boot_in_every_mode(const std::string& vmm) {
  const Host host;
  const Surroundings around;
  const Runner runner;
  Runner::install_demo_image();
  put_network("sandbox", isolated::sandbox_conf("sandbox"));
  put_network("lan", macvtap::quick_conf("lan"));
  const std::string inside = "/run/netns/slicer-v";
  for (const auto& [network, from] : {std::pair<std::string, std::string>{"host", Host::netns()},
                                      {"private", inside},
                                      {"sandbox", inside},
                                      {"lan", around.machine.path()}}) {
    CAPTURE(network);
    const Outcome started = start(vmm, network);
    INFO(started.err);
    REQUIRE(started.ok());
    CHECK(eventually([&] { return pings(from, address_of_vm(), 1); }, std::chrono::seconds(60)));
    CHECK(Runner::run("vm stop v").ok());
    CHECK(Runner::run("vm rm v").ok());
    CHECK(Runner::gone("v"));
  }
}

}  // namespace

TEST_CASE("hypervisors guest: Firecracker boots the demo guest in every mode") {
  SLICER_NEEDS_DEMO_IMAGE();
  if (const std::string reason = missing("firecracker"); !reason.empty()) SLICER_SKIP(reason);
  boot_in_every_mode("firecracker");
}

TEST_CASE("hypervisors guest: Cloud Hypervisor boots the demo guest in every mode") {
  SLICER_NEEDS_DEMO_IMAGE();
  if (const std::string reason = missing("cloud-hypervisor"); !reason.empty()) SLICER_SKIP(reason);
  boot_in_every_mode("cloud-hypervisor");
}

TEST_CASE("hypervisors guest: a real one opens the TAP and ends when it is told, even where its guest cannot run") {
  SLICER_NEEDS_DEMO_IMAGE();
  SLICER_NEEDS_KVM_DEVICE();
  bool any = false;
  for (const std::string& vmm : kVmms) {
    if (!runner::find_hypervisor(*runner::find_hypervisor_kind(vmm).value(), "")) continue;
    any = true;
    CAPTURE(vmm);
    const Host host;
    const Runner runner;
    Runner::install_demo_image();
    pretend_vmx();
    const Outcome started = start(vmm, "private");
    INFO(started.err);
    REQUIRE(started.ok());
    CHECK(must("ip link show tap0", "/run/netns/slicer-v").find("LOWER_UP") != std::string::npos);
    CHECK(Runner::run("vm rm v --now").ok());
    CHECK(Runner::gone("v"));
  }
  if (!any) SLICER_SKIP("neither firecracker nor cloud-hypervisor is on PATH");
}

}  // namespace slicer::test
