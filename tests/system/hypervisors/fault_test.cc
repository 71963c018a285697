// What goes wrong with a hypervisor: one line that says what to do, and nothing is left.
#include <doctest/doctest.h>
#include <sys/mount.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "runner/hypervisor/firecracker.h"
#include "runner/supervisor/serial_line.h"
#include "tests/system/hypervisors/vmm_support.h"

namespace slicer::test {
namespace {

struct Fault {
  std::string vmm;
  std::string words;    ///< for the stand-in
  std::string message;  ///< a part of the first line
};

void check_fault(const Outcome& failed, const std::string& message) {
  INFO(failed.out << failed.err);
  CHECK(failed.exit_code == 1);
  CHECK(failed.err.find(message) != std::string::npos);
  CHECK(failed.err.find("slicer-run: hint: ") != std::string::npos);
  CHECK(VmmHost::leftovers() == "");
}

}  // namespace

TEST_CASE("hypervisors: one that refuses its configuration or dies at its start says so, and nothing is left") {
  SLICER_NEEDS_KVM_DEVICE();
  const VmmHost host;
  for (const std::string& vmm : kVmms) {
    CAPTURE(vmm);
    const std::string start = "slicer-run: start /run/vmm/" + vmm + "/" + vmm + ": it ended at once";
    check_fault(VmmHost::start(vmm, "private", "refuse"), start + "; it says 'Error: ");
    check_fault(VmmHost::start(vmm, "private", "crash"), start);
  }
}

TEST_CASE("hypervisors: missing, too old, another program, without KVM, with too many processors") {
  SLICER_NEEDS_KVM_DEVICE();
  const VmmHost host;
  for (const std::string& vmm : kVmms) {
    CAPTURE(vmm);
    check_fault(VmmHost::start(vmm, "host", "", "--hypervisor-path /run/none"),
                "find hypervisor '" + vmm + "' at '/run/none': No such file or directory (ENOENT)");
    check_fault(VmmHost::start(vmm, "host", "", "--hypervisor-path /bin/true"), "'/bin/true' is not " + vmm);
    check_fault(VmmHost::start(vmm, "host", "", "--vcpu 255"), "255 processors: " + vmm + " gives a VM ");
    check_fault(VmmHost::start(vmm, "host", "", "--accel tcg"), "hypervisor '" + vmm + "' needs KVM: TCG is QEMU's");
  }
  VmmHost::install("1.6.9", "39.0");
  check_fault(VmmHost::start("firecracker", "host"), "is firecracker 1.6: 1.7 is the oldest that works");
  check_fault(VmmHost::start("cloud-hypervisor", "host"), "is cloud-hypervisor 39.0: 40.0 is the oldest that works");
  std::filesystem::remove_all("/run/vmm");
  check_fault(VmmHost::start("firecracker", "host"), "find 'firecracker' on PATH: not there");
  CHECK(VmmHost::start("firecracker", "host").err.find("github.com/firecracker-microvm/firecracker/releases") !=
        std::string::npos);
  std::ofstream("/run/cpuinfo") << "flags\t\t: fpu\n";
  check_fault(VmmHost::start("firecracker", "host"),
              "hypervisor 'firecracker' needs KVM: the processor has neither vmx nor svm in /proc/cpuinfo");
}

TEST_CASE("hypervisors: a kernel or a disk that cannot be used is named before anything runs") {
  SLICER_NEEDS_KVM_DEVICE();
  const VmmHost host;
  std::ofstream("/run/no-kernel") << "no kernel";
  std::ofstream("/run/disk.qcow2") << "QFI";
  std::ofstream("/run/disk.img") << std::string(4096, 'd');
  std::filesystem::permissions("/run/disk.img", std::filesystem::perms::owner_read);
  for (const std::string& vmm : kVmms) {
    CAPTURE(vmm);
    const auto with = [&](const std::string& more) {
      return Runner::run("vm new v --network host --ram-mb 64 --hypervisor " + vmm + " " + more);
    };
    check_fault(with("--kernel /run/no-kernel"), "kernel '/run/no-kernel': neither an ELF file nor a bzImage");
    const std::string kernel = std::string("--kernel ") + VmmHost::kKernel;
    check_fault(with(kernel + " --disk /run/disk.qcow2"),
                "disk '/run/disk.qcow2': " + vmm + " takes raw disks, not qcow2");
    check_fault(with(kernel + " --disk /run/none.img"), "/run/none.img");
    check_fault(with(kernel + " --disk /run/disk.img"),
                "open disk '/run/disk.img' as the user slicer-vm, to write: Permission denied");
  }
}

TEST_CASE("hypervisors: killed while it runs, hanging at its shutdown: the VM's network is taken back") {
  SLICER_NEEDS_KVM_DEVICE();
  const VmmHost host;
  for (const std::string& vmm : kVmms) {
    CAPTURE(vmm);
    REQUIRE(VmmHost::start(vmm, "private").ok());
    REQUIRE(kill(Runner::vm("v")["hypervisorPid"], SIGKILL) == 0);
    CHECK(Runner::gone("v"));
    CHECK(VmmHost::leftovers() == "");
    REQUIRE(VmmHost::start(vmm, "private", "deaf").ok());
    CHECK(Runner::run("vm stop v --timeout 1").out == "v is stopped\n");
    CHECK(Runner::run("vm rm v").ok());
    CHECK(VmmHost::leftovers() == "");
  }
}

TEST_CASE("hypervisors: one that never answers is given up, and ended") {
  SLICER_NEEDS_KVM_DEVICE();
  const VmmHost host;
  (void)must("ip tuntap add tap9 mode tap user " + std::to_string(Runner::kUid));
  std::filesystem::create_directories("/run/slicer/v");
  for (const char* word : {"hang", "silent"}) {
    CAPTURE(word);
    const net::Netns here = net::Netns::current().value();
    net::RouteSocket session = net::RouteSocket::open_in(here).value();
    const runner::HypervisorKind& kind = *runner::find_hypervisor_kind("firecracker").value();
    runner::Machine machine;
    machine.name = "v";
    machine.folder = "/run/slicer/v";
    machine.program = runner::find_hypervisor(kind, "").value();
    machine.boot = {.kernel = VmmHost::kKernel, .cmdline = word};
    machine.nic = runner::hand_over(kind, here, net::get_link(session, "tap9").value()).value();
    machine.nic.mac = "02:00:5e:00:53:01";
    machine.log = "/run/slicer/v/hypervisor.log";
    machine.uid = machine.gid = Runner::kUid;
    machine.start_limit = std::chrono::milliseconds(300);
    runner::SerialLine line = runner::make_serial_line(kind.line).value();
    machine.console = std::move(line.theirs);
    runner::Firecracker hung;
    const Result<void> started = hung.start(std::move(machine));
    REQUIRE_FALSE(started);
    CHECK(started.error().message == "start /run/vmm/firecracker/firecracker: no machine runs after 0.3 s");
  }
  std::filesystem::remove_all("/run/slicer/v");
  CHECK(VmmHost::leftovers() == "");
}

TEST_CASE("hypervisors: a viewer that never reads holds nothing up, what is typed arrives, a crash ends the VM") {
  SLICER_NEEDS_KVM_DEVICE();
  const VmmHost host;
  for (const std::string& vmm : kVmms) {
    CAPTURE(vmm);
    REQUIRE(VmmHost::start(vmm, "host").ok());
    const Background deaf({"sh", "-c", "sleep 60 | " + Runner::argv("")[0] + " vm console v | sleep 60"}, "");
    const Background typist({"sh", "-c", "{ printf F; sleep 60; } | " + Runner::argv("")[0] + " vm console v"}, "");
    CHECK(eventually([] { return contents("/run/slicer/v/console.log").ends_with("FLOOD-END\r\nF"); },
                     std::chrono::seconds(20)));
    CHECK(pings(Host::netns(), "192.0.2.2"));
    CHECK(Runner::run("vm rm v").ok());
    CHECK(VmmHost::leftovers() == "");
    REQUIRE(VmmHost::start(vmm, "host", "dies-soon").ok());
    const Background last({"sh", "-c", "{ printf a; sleep 60; } | " + Runner::argv("")[0] + " vm console v"}, "");
    CHECK(Runner::gone("v"));
    CHECK(VmmHost::leftovers() == "");
  }
}

TEST_CASE(
    "hypervisors: a disk on a read-only file system is told of, and serves as what a disk of its own is made of") {
  SLICER_NEEDS_KVM_DEVICE();
  const VmmHost host;
  std::filesystem::create_directories("/run/images");
  REQUIRE(mount("tmpfs", "/run/images", "tmpfs", 0, "mode=0755") == 0);
  std::ofstream("/run/images/disk.img") << std::string(4096, 'd');
  REQUIRE(mount(nullptr, "/run/images", nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0);
  const Outcome qemu = Runner::start("v", "private", "--disk /run/images/disk.img");
  check_fault(qemu, "open '/run/images/disk.img': Read-only file system (EROFS)");
  for (const std::string& vmm : kVmms) {
    CAPTURE(vmm);
    const Outcome failed = VmmHost::start(vmm, "private", "", "--disk /run/images/disk.img");
    check_fault(failed, "open '/run/images/disk.img': Read-only file system (EROFS)");
    CHECK(failed.err.find("--storage SIZE") != std::string::npos);
    const Outcome started = VmmHost::start(vmm, "private", "", "--disk /run/images/disk.img --storage 1M");
    INFO(started.err);
    CHECK(started.ok());
    CHECK(Runner::run("vm rm v").ok());
    CHECK(VmmHost::leftovers() == "");
  }
}

TEST_CASE("hypervisors: the socket for orders is the hypervisor's alone, so that its end is the socket's") {
  SLICER_NEEDS_KVM_DEVICE();
  const VmmHost host;
  REQUIRE(VmmHost::start("cloud-hypervisor", "host").ok());
  const Json vm = Runner::vm("v");
  const std::string inode = words(must("awk $NF~/api.sock$/{print$7} /proc/net/unix")).at(0);
  const auto holds = [&](int pid) {
    for (const auto& fd : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd"))
      if (std::filesystem::read_symlink(fd.path()) == "socket:[" + inode + "]") return true;
    return false;
  };
  CHECK(holds(vm["hypervisorPid"]));
  CHECK_FALSE(holds(vm["supervisorPid"]));
  CHECK(Runner::run("vm rm v").ok());
}

}  // namespace slicer::test
