// Firecracker and Cloud Hypervisor themselves, as far as this machine has them: real boots in every mode where KVM
// works; where only a /dev/kvm is there that makes machines and does not run them, to the point where the TAP is open.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "lib/net/link.h"
#include "runner/hypervisor/kinds.h"
#include "tests/system/hypervisors/vmm_support.h"
#include "tests/system/isolated/isolated_support.h"
#include "tests/system/macvtap/macvtap_support.h"

namespace slicer::test {
namespace {

using namespace std::string_literals;

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

/// What is on PATH, and Firecracker again "--jailer" where that is too.
std::vector<std::string> installed() {
  std::vector<std::string> found;
  for (const std::string& vmm : kVmms)
    if (runner::find_hypervisor(*runner::find_hypervisor_kind(vmm).value(), "")) found.push_back(vmm);
  if (run({"sh", "-c", "command -v firecracker && command -v jailer"}).ok()) found.push_back("firecracker --jailer");
  return found;
}

/// Networks in every mode; "host" and "private" are there anyway.
void put_every_network() {
  put_network("sandbox", isolated::sandbox_conf("sandbox"));
  put_network("lan", macvtap::quick_conf("lan"));
}

/// Whether the VM's hypervisor runs and has a TAP or macvtap open.
bool holds_its_tap(const std::string& vm) {
  const std::string pid = std::to_string(Runner::vm(vm)["hypervisorPid"].get<int>());
  return eventually([&] { return run({"sh", "-c", "ls -l /proc/" + pid + "/fd | grep -q -e net/tun -e /tap"}).ok(); });
}

void boot_in_every_mode(const std::string& vmm) {
  const Host host;
  const Surroundings around;
  const Runner runner;
  Runner::install_demo_image();
  put_every_network();
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

TEST_CASE("hypervisors guest: a real one opens the TAP of every mode and ends, even where its guest cannot run") {
  SLICER_NEEDS_DEMO_IMAGE();
  SLICER_NEEDS_KVM_DEVICE();
  const std::vector<std::string> vmms = installed();
  if (vmms.empty()) SLICER_SKIP("neither firecracker nor cloud-hypervisor is on PATH");
  for (const std::string& vmm : vmms) {
    const Host host;
    const Surroundings around;
    const Runner runner;
    Runner::install_demo_image();
    put_every_network();
    pretend_vmx();
    for (const std::string network : {"host", "private", "sandbox", "lan"}) {
      CAPTURE(vmm);
      if (network == "lan" && vmm.ends_with("--jailer")) continue;  // refused: see jailer_test.cc
      CAPTURE(network);
      const Outcome started = start(vmm, network);
      INFO(started.err << contents("/run/slicer/v/hypervisor.log"));
      REQUIRE(started.ok());
      CHECK(holds_its_tap("v"));
      CHECK(Runner::run("vm rm v --now").ok());
      CHECK(Runner::gone("v"));
    }
  }
}

TEST_CASE("hypervisors guest: a real one takes whatever the runner can ask of it") {
  SLICER_NEEDS_DEMO_IMAGE();
  SLICER_NEEDS_KVM_DEVICE();
  const std::vector<std::string> vmms = installed();
  if (vmms.empty()) SLICER_SKIP("neither firecracker nor cloud-hypervisor is on PATH");
  for (const std::string& vmm : vmms) {
    CAPTURE(vmm);
    const bool jailed = vmm.ends_with("--jailer");
    const Host host;
    const Runner runner;
    Runner::install_demo_image();
    pretend_vmx();
    std::ofstream("/run/disk.img") << "disk";
    std::filesystem::resize_file("/run/disk.img", 1 << 20);
    const std::string image = std::getenv("SLICER_TEST_IMAGE");
    std::filesystem::create_directories("/run/image");
    for (const char* part : {"vmlinuz", "initrd"})
      std::filesystem::create_symlink(image + "/" + part, "/run/image/"s + part);
    std::filesystem::create_symlink("/run/disk.img", "/run/image/disk.raw");
    std::ofstream("/run/group.yaml") << "config:\n  host_groups:\n    - name: v\n      count: 1\n"
                                        "      image: /run/image\n      vcpu: 2\n      ram_mb: 128\n"
                                        "      storage: 2M\n      bandwidth: {ingress: 10M, egress: 5M}\n      "
                                        "userdata: \"#!/bin/sh\"\n      hypervisor: "
                                     << (jailed ? "firecracker\n      jailer: true" : vmm)
                                     << "\n      network: {gateway: 192.0.2.1/24, mtu: 1400}\n";
    const Outcome up = Runner::run("up -d /run/group.yaml");
    INFO(up.out << up.err << contents("/run/slicer/v-1/hypervisor.log"));
    REQUIRE(up.ok());
    CHECK(holds_its_tap("v-1"));
    const Outcome stopped = Runner::run("vm stop --timeout 1 v-1");  // by its API; the guest does not hear
    INFO(stopped.err);
    CHECK(stopped.ok());
    CHECK(Runner::run("down --rm v").ok());
    CHECK(Runner::gone("v-1"));
  }
}

}  // namespace slicer::test
