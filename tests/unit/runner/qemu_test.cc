#include "runner/hypervisor/qemu.h"

#include <doctest/doctest.h>

#include <algorithm>

namespace slicer::runner {
namespace {

constexpr QemuPlatform kPlatform{.program = "qemu", .machine = "q35", .tcg_cpu = "qemu64,+rdrand"};
const QemuDescriptors kFds{.tap = 10, .console = 11, .control = 13, .kernel = 14};

Machine machine() {
  Machine machine;
  machine.name = "demo-1";
  machine.boot.kernel = "/secret/kernel";
  machine.boot.cmdline = "quiet ip=192.0.2.7:::255.255.255.0:demo-1::off";
  machine.nic.mac = "02:00:5e:00:53:01";
  return machine;
}

bool has(const std::vector<std::string>& argv, const std::string& option, const std::string& value) {
  const std::vector<std::string> pair = {option, value};
  return std::ranges::search(argv, pair).begin() != argv.end();
}

bool mentions(const std::vector<std::string>& argv, const std::string& text) {
  return std::ranges::any_of(argv, [&](const std::string& word) { return word.find(text) != std::string::npos; });
}

}  // namespace

TEST_CASE("qemu_arguments: nothing of the host is reachable by name") {
  Machine vm = machine();
  vm.disks = {{.path = "/secret/disk.qcow2", .format = "qcow2", .base = "/secret/disk.img"},
              {.path = "/secret/seed.iso", .read_only = true}};
  vm.boot.initrd = "/secret/initrd";
  QemuDescriptors fds = kFds;
  fds.disks = {{.file = 15, .base = 17}, {.file = 18}};
  fds.initrd = 16;
  const auto argv = qemu_arguments(vm, kPlatform, fds);
  CHECK_FALSE(mentions(argv, "/secret"));
  CHECK(has(argv, "-kernel", "/proc/self/fd/14"));
  CHECK(has(argv, "-initrd", "/proc/self/fd/16"));
  CHECK(has(argv, "-netdev", "tap,id=net,fd=10"));
  CHECK(has(argv, "-add-fd", "fd=15,set=1"));
  CHECK(has(argv, "-chardev", "socket,id=console,fd=11"));
}

TEST_CASE("qemu_arguments: the system call filter and no default devices") {
  const auto argv = qemu_arguments(machine(), kPlatform, kFds);
  CHECK(has(argv, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"));
  for (const char* option : {"-nodefaults", "-no-user-config", "-no-reboot"})
    CHECK(std::ranges::count(argv, option) == 1);
}

TEST_CASE("qemu_arguments: acceleration chooses the processor model") {
  Machine vm = machine();
  const auto tcg = qemu_arguments(vm, kPlatform, kFds);
  CHECK(has(tcg, "-machine", "q35,accel=tcg"));
  CHECK(has(tcg, "-cpu", "qemu64,+rdrand"));
  vm.accelerator = Accelerator::kKvm;
  const auto kvm = qemu_arguments(vm, kPlatform, kFds);
  CHECK(has(kvm, "-machine", "q35,accel=kvm"));
  CHECK(has(kvm, "-cpu", "host"));
}

TEST_CASE("qemu_arguments: the guest's MAC and MTU") {
  Machine vm = machine();
  CHECK(
      has(qemu_arguments(vm, kPlatform, kFds), "-device", "virtio-net-pci,netdev=net,mac=02:00:5e:00:53:01,romfile="));
  vm.nic.mtu = 1400;
  CHECK(has(qemu_arguments(vm, kPlatform, kFds), "-device",
            "virtio-net-pci,netdev=net,mac=02:00:5e:00:53:01,romfile=,host_mtu=1400"));
}

TEST_CASE("qemu_arguments: disks in their order, each layer by a descriptor of its own") {
  Machine vm = machine();
  QemuDescriptors fds = kFds;
  CHECK_FALSE(mentions(qemu_arguments(vm, kPlatform, fds), "virtio-blk"));
  vm.disks = {{.path = "/x/disk.qcow2", .format = "qcow2", .base = "/x/base.img"},
              {.path = "/x/seed", .read_only = true}};
  fds.disks = {{.file = 15, .base = 16}, {.file = 17}};
  const auto argv = qemu_arguments(vm, kPlatform, fds);
  CHECK(has(argv, "-blockdev", "driver=file,node-name=disk0-base-file,filename=/dev/fdset/2,read-only=on"));
  CHECK(has(argv, "-blockdev", "node-name=disk0-base,file=disk0-base-file,driver=raw,read-only=on"));
  CHECK(has(argv, "-add-fd", "fd=15,set=1"));
  CHECK(has(argv, "-blockdev", "driver=file,node-name=disk0-file,filename=/dev/fdset/1"));
  CHECK(has(argv, "-blockdev", "node-name=disk0,file=disk0-file,driver=qcow2,backing=disk0-base"));
  CHECK(has(argv, "-device", "virtio-blk-pci,drive=disk0"));
  CHECK(has(argv, "-blockdev", "driver=file,node-name=disk1-file,filename=/dev/fdset/3,read-only=on"));
  CHECK(has(argv, "-blockdev", "node-name=disk1,file=disk1-file,driver=raw,read-only=on"));
  CHECK(has(argv, "-device", "virtio-blk-pci,drive=disk1"));
}

TEST_CASE("disk_format: by the name alone, never by what a guest wrote") {
  CHECK(std::string(disk_format("/x/disk.qcow2")) == "qcow2");
  CHECK(std::string(disk_format("/x/disk.img")) == "raw");
}

TEST_CASE("make_hypervisor: an unknown name is answered with the known ones") {
  CHECK(make_hypervisor("qemu"));
  const auto made = make_hypervisor("bochs");
  REQUIRE_FALSE(made);
  CHECK(made.error().message == "hypervisor 'bochs' is not known");
  CHECK(made.error().hint == "use qemu, firecracker or cloud-hypervisor");
}

}  // namespace slicer::runner
