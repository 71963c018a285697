// The way of a VM's network device to Firecracker and Cloud Hypervisor, in every mode: frames pass through the device
// that the stand-in opened, with the guest's MAC and address.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "tests/system/hypervisors/vmm_support.h"
#include "tests/system/isolated/isolated_support.h"
#include "tests/system/macvtap/macvtap_support.h"

namespace slicer::test {
namespace {

/// What the neighbour table of a namespace has for an address.
std::string neighbour(const std::string& netns, const std::string& address) {
  return must("ip neigh show " + address, netns);
}

std::string user_of(int pid) {
  struct stat info{};
  return stat(("/proc/" + std::to_string(pid)).c_str(), &info) == 0 ? std::to_string(info.st_uid) : "none";
}

}  // namespace

TEST_CASE("hypervisors: on a TAP of the host and of a private namespace the guest answers with its MAC and address") {
  SLICER_NEEDS_KVM_DEVICE();
  for (const std::string& vmm : kVmms)
    for (const std::string network : {"host", "private"}) {
      CAPTURE(vmm);
      CAPTURE(network);
      const VmmHost host;
      const Outcome started = VmmHost::start(vmm, network);
      INFO(started.err << contents("/run/slicer/v/hypervisor.log"));
      REQUIRE(started.ok());
      CHECK(started.out == "v runs: 192.0.2.2/24 on network '" + network + "' (" + vmm + ", kvm)\n");
      const std::string netns = network == "host" ? Host::netns() : "/run/netns/slicer-v";
      CHECK(pings(netns, "192.0.2.2"));
      CHECK(neighbour(netns, "192.0.2.2").find("02:00:5e:00:53:01") != std::string::npos);
      CHECK(user_of(Runner::vm("v")["hypervisorPid"]) == std::to_string(Runner::kUid));
      CHECK(Runner::says("v",
                         "STAND-IN-READY quiet console=ttyS0 hostname=v ip=192.0.2.2::192.0.2.1:255.255.255.0:v::off"));
      CHECK(Runner::run("vm stop v").out == "v is stopped\n");
      CHECK(Runner::run("vm start v").ok());
      CHECK(pings(netns, "192.0.2.2"));
      CHECK(Runner::run("vm rm v").ok());
      CHECK(VmmHost::leftovers() == "");
    }
}

TEST_CASE("hypervisors: on an isolated network and on the LAN, by macvtap") {
  SLICER_NEEDS_KVM_DEVICE();
  for (const std::string& vmm : kVmms) {
    CAPTURE(vmm);
    const VmmHost host;
    const Surroundings around;
    put_network("sandbox", isolated::sandbox_conf("sandbox"));
    put_network("lan", macvtap::quick_conf("lan"));
    const Outcome isolated = VmmHost::start(vmm, "sandbox");
    INFO(isolated.err);
    REQUIRE(isolated.ok());
    CHECK(pings("/run/netns/slicer-v", address_of_vm()));
    CHECK(Runner::run("vm rm v").ok());

    const bool can = run(words("ip link add link lan0 name probe type macvtap")).ok();
    if (!can) SLICER_SKIP("no macvtap in this kernel");
    (void)must("ip link del probe");
    const Outcome lan = VmmHost::start(vmm, "lan");
    INFO(lan.err << contents("/run/slicer/v/hypervisor.log"));
    REQUIRE(lan.ok());
    CHECK(pings(around.machine.path(), address_of_vm()));
    CHECK(neighbour(around.machine.path(), address_of_vm()).find(Runner::vm("v")["mac"].get<std::string>()) !=
          std::string::npos);
    CHECK(Runner::run("vm rm v").ok());
    CHECK(VmmHost::leftovers() == "");
  }
}

TEST_CASE(
    "hypervisors: old versions are told no more than they know, and seed, disk and processors reach the machine") {
  SLICER_NEEDS_KVM_DEVICE();
  const VmmHost host;
  std::ofstream("/run/disk.img") << "disk";
  std::filesystem::resize_file("/run/disk.img", 1 << 20);
  for (const auto& [old_firecracker, old_cloud] : {std::pair{"1.7.0", "40.0"}, {"1.17.0-dev", "41.0"}}) {
    VmmHost::install(old_firecracker, old_cloud);
    for (const std::string& vmm : kVmms) {
      CAPTURE(vmm);
      CAPTURE(old_firecracker);
      const Outcome started = VmmHost::start(vmm, "host", "", "--vcpu 2 --disk /run/disk.img --storage 2M");
      INFO(started.err);
      REQUIRE(started.ok());
      CHECK(std::filesystem::file_size("/var/lib/slicer/vms/v/disk.raw") == 2U << 20);
      CHECK(contents("/var/lib/slicer/vms/v/disk.raw").starts_with("disk"));
      CHECK(Runner::run("vm rm v").ok());
    }
  }
  CHECK(VmmHost::leftovers() == "");
}

TEST_CASE("hypervisors: one word in a host group's file changes what its VMs run on") {
  SLICER_NEEDS_KVM_DEVICE();
  const VmmHost host;
  std::filesystem::create_directories("/run/image");
  std::filesystem::copy(VmmHost::kKernel, "/run/image/vmlinux");
  for (const std::string& vmm : kVmms) {
    CAPTURE(vmm);
    std::ofstream("/run/group.yaml")
        << "config:\n  host_groups:\n    - name: web\n      count: 1\n      network_name: host\n"
        << "      image: /run/image\n      ram_mb: 64\n      hypervisor: " << vmm << "\n";
    const Outcome up = Runner::run("up -d /run/group.yaml");
    INFO(up.out << up.err);
    CHECK(up.ok());
    CHECK(Runner::vm("web-1")["hypervisor"] == vmm);
    CHECK(pings(Host::netns(), "192.0.2.2"));
    CHECK(Runner::run("down web").ok());
  }
}

}  // namespace slicer::test
