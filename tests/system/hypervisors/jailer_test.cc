// Firecracker through its jailer: the stand-in makes a real jail, and the stand-in of Firecracker in it answers.
#include <doctest/doctest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "runner/hypervisor/vm_cgroup.h"
#include "tests/system/hypervisors/own_cgroup.h"
#include "tests/system/hypervisors/vmm_support.h"
#include "tests/system/isolated/isolated_support.h"
#include "tests/system/macvtap/macvtap_support.h"

namespace slicer::test {
namespace {

namespace fs = std::filesystem;

struct JailHost : VmmHost {
  JailHost() { install_stand_in("stand_in_jailer", kJailer, "1.16.0"); }
  static Outcome start(const std::string& network, const std::string& words = {}, const std::string& more = {}) {
    return VmmHost::start("firecracker", network, words, "--jailer " + more);
  }
  static void set_fault(const std::string& word) { write_text("/run/vmm/firecracker/fault", word); }
  static constexpr const char* kJailer = "/run/vmm/firecracker/jailer";
};

// Of the VM "v": a file of its hypervisor's process.
std::string proc(const std::string& file) {
  return "/proc/" + std::to_string(Runner::vm("v")["hypervisorPid"].get<int>()) + "/" + file;
}

std::string status_line(const std::string& name) {
  const std::string status = "\n" + contents(proc("status"));
  const size_t at = status.find("\n" + name + ":\t");
  return at == std::string::npos ? "" : status.substr(at + 1, status.find('\n', at + 1) - at - 1);
}

// The message is of the one line, with a hint, and nothing of the VM is left.
void check_refused(const Outcome& failed, const std::string& message) {
  INFO(failed.out << failed.err);
  CHECK(failed.exit_code == 1);
  CHECK(failed.err.find(message) != std::string::npos);
  CHECK(failed.err.find("slicer-run: hint: ") != std::string::npos);
  CHECK(VmmHost::leftovers() == "");
}

// The network works, and the process is as the jailer leaves it.
void check_jailed(const std::string& network) {
  const Outcome started = JailHost::start(network, "", "--disk /run/disk.img --storage 2M");
  INFO(started.err << contents("/run/slicer/v/hypervisor.log"));
  REQUIRE(started.ok());
  CHECK(started.out == "v runs: 192.0.2.2/24 on network '" + network + "' (firecracker, kvm)\n");
  CHECK(pings(network == "host" ? Host::netns() : "/run/netns/slicer-v", "192.0.2.2"));
  CHECK(Runner::says("v", "STAND-IN-READY quiet console=ttyS0 hostname=v"));
  CHECK(fs::is_socket("/run/slicer/v/control/vsock.sock"));
  const std::string uid = std::to_string(Runner::kUid);
  CHECK(status_line("Uid") == "Uid:\t" + uid + "\t" + uid + "\t" + uid + "\t" + uid);
  CHECK(status_line("NSpid").ends_with("\t2"));
  CHECK(status_line("NoNewPrivs") == "NoNewPrivs:\t1");
  CHECK(fs::exists(proc("root/disk0")));
  CHECK_FALSE(fs::exists(proc("root/usr")));
  const std::string mounts = contents(proc("mountinfo"));
  CHECK(mounts.find(" /kernel ro,nosuid,nodev,noexec,") != std::string::npos);
  CHECK(mounts.find(" /disk0 rw,nosuid,nodev,noexec,") != std::string::npos);
  CHECK(mounts.find(" /disk1 ro,nosuid,nodev,noexec,") != std::string::npos);  // the seed
  CHECK(fs::is_empty("/run/slicer/v/jail"));                                   // the host sees nothing of it
  if (runner::cgroup_root()) CHECK(contents(proc("cgroup")).find("0::/slicer/vm-v\n") != std::string::npos);
  CHECK(Runner::run("vm stop v").out == "v is stopped\n");
  CHECK(Runner::run("vm start v").ok());
  CHECK(fs::exists(proc("root/firecracker.json")));
  CHECK(Runner::run("vm rm v").ok());
  CHECK(VmmHost::leftovers() == "");
}

}  // namespace

TEST_CASE("jailer: a VM on a TAP of the host and of a private namespace, with disks, answers from its jail") {
  SLICER_NEEDS_KVM_DEVICE();
  const JailHost host;
  std::ofstream("/run/disk.img") << "disk";
  fs::resize_file("/run/disk.img", 1 << 20);
  fs::permissions("/run", fs::perms::others_exec, fs::perm_options::remove);  // nothing on the way is open to slicer-vm
  check_jailed("host");
  check_jailed("private");
}

TEST_CASE("jailer: the real one, where it is on PATH, makes the same jail") {
  SLICER_NEEDS_KVM_DEVICE();
  const Outcome asked = run({"jailer", "--version"});
  const size_t at = asked.out.find(" v");
  if (!asked.ok() || at == std::string::npos) SLICER_SKIP("no jailer on PATH");
  const std::string version = asked.out.substr(at + 2, asked.out.find_first_of(" \n", at + 2) - at - 2);
  const VmmHost host;
  const OwnCgroup cgroup;             // where there is one, it goes there too
  VmmHost::install(version, "53.0");  // a stand-in of Firecracker that says to be of the same release
  std::ofstream("/run/disk.img") << "disk";
  fs::resize_file("/run/disk.img", 1 << 20);
  check_jailed("host");
  check_jailed("private");
}

TEST_CASE("jailer: on an isolated network, and a macvtap is refused with the reason") {
  SLICER_NEEDS_KVM_DEVICE();
  const JailHost host;
  const Surroundings around;
  put_network("sandbox", isolated::sandbox_conf("sandbox"));
  put_network("lan", macvtap::quick_conf("lan"));
  const Outcome isolated = JailHost::start("sandbox");
  INFO(isolated.err);
  REQUIRE(isolated.ok());
  CHECK(pings("/run/netns/slicer-v", address_of_vm()));
  CHECK(Runner::run("vm rm v").ok());
  if (!run(words("ip link add link lan0 name probe type macvtap")).ok()) SLICER_SKIP("no macvtap in this kernel");
  (void)must("ip link del probe");
  check_refused(JailHost::start("lan"), "is a macvtap: the jailer's /dev/net/tun is that of TAPs");
}

TEST_CASE("jailer: missing, of another release, another program, for a hypervisor without one") {
  SLICER_NEEDS_KVM_DEVICE();
  const JailHost host;
  install_stand_in("stand_in_jailer", "/run/old", "1.7.0");
  check_refused(JailHost::start("host", "", "--jailer-path /run/old"),
                "'/run/old' is jailer 1.7, but '/run/vmm/firecracker/firecracker' is firecracker 1.16");
  check_refused(JailHost::start("host", "", "--jailer-path /bin/true"), "'/bin/true' is not Firecracker's jailer");
  check_refused(JailHost::start("host", "", "--jailer-path /run/none"), "find the jailer at '/run/none': No such file");
  check_refused(VmmHost::start("cloud-hypervisor", "host", "", "--jailer"),
                "a jailer is Firecracker's: cloud-hypervisor has none");
  fs::remove(JailHost::kJailer);
  if (run({"jailer", "--version"}).ok()) SLICER_SKIP("a real jailer is on PATH: none can be missing");
  check_refused(JailHost::start("host"), "find 'jailer' on PATH: not there");
}

TEST_CASE("jailer: one that refuses, dies halfway, or cannot run Firecracker says so, and nothing is left") {
  SLICER_NEEDS_KVM_DEVICE();
  const JailHost host;
  const std::string start =
      "slicer-run: start /run/vmm/firecracker/firecracker by /run/vmm/firecracker/jailer: it ended at once";
  JailHost::set_fault("refuse");
  check_refused(JailHost::start("private"), start + "; it says 'Invalid instance ID: told to'");
  JailHost::set_fault("die");
  check_refused(JailHost::start("private"), start);
  JailHost::set_fault("none");
  check_refused(JailHost::start("private", "refuse"), start + "; it says 'Error: RunWithApi(");
  std::ofstream("/run/disk.img") << std::string(4096, 'd');
  fs::permissions("/run/disk.img", fs::perms::owner_read);
  check_refused(JailHost::start("host", "", "--disk /run/disk.img"),
                "open disk '/run/disk.img' as the user slicer-vm, to write: Permission denied");
  write_text("/run/vmm/firecracker/firecracker", "#!/bin/sh\necho Firecracker v1.16.0\n");  // no /bin/sh in the jail
  check_refused(JailHost::start("host"), start + "; it says 'Failed to exec into Firecracker: No such file");
}

TEST_CASE(
    "jailer: the supervisor killed with the VM running, or the jailer halfway: all of it ends, gc takes the rest") {
  SLICER_NEEDS_KVM_DEVICE();
  const JailHost host;
  const auto supervisor = [] {
    return Json::parse(contents("/run/slicer/v/state.json"))["supervisor"]["pid"].get<pid_t>();
  };
  REQUIRE(JailHost::start("private").ok());
  const pid_t firecracker = Runner::vm("v")["hypervisorPid"];
  REQUIRE(kill(supervisor(), SIGKILL) == 0);
  CHECK(eventually([&] { return !runs(firecracker); }));  // by nobody's hand
  CHECK(Runner::run("gc").ok());
  CHECK(VmmHost::leftovers() == "");

  JailHost::set_fault("hang");
  const Background starting(Runner::argv("vm new v --network private --jailer --ram-mb 64 --hypervisor firecracker "
                                         "--kernel " +
                                         std::string(VmmHost::kKernel)),
                            "");
  const auto jailed = [] {
    return run({"sh", "-c",
                "for p in /proc/[0-9]*; do [ $p/exe -ef " + std::string(JailHost::kJailer) +
                    " ] && [ -e $p/root/dev/urandom ] && [ ! -e $p/root/usr ] && echo ${p#/proc/}; done"})
        .out;
  };
  REQUIRE(eventually([&] { return !jailed().empty(); }));
  const pid_t jailer = std::stoi(jailed());
  REQUIRE(kill(supervisor(), SIGKILL) == 0);
  CHECK(eventually([&] { return !runs(jailer); }));
  CHECK(Runner::run("gc").ok());
  CHECK(VmmHost::leftovers() == "");
}

TEST_CASE("jailer: Firecracker by another name and a link, in a folder without devices and programs, is jailed too") {
  SLICER_NEEDS_KVM_DEVICE();
  const JailHost host;
  fs::create_directories("/run/slicer");
  REQUIRE(mount("tmpfs", "/run/slicer", "tmpfs", MS_NODEV | MS_NOEXEC | MS_NOSUID, "mode=0755") == 0);
  install_stand_in("stand_in_vmm", "/run/vmm/renamed", "1.16.0");
  fs::create_symlink("/run/vmm/renamed", "/run/vmm/link");
  // It tells the two hypervisors apart by their names.
  for (const std::string path : {"/run/vmm/firecracker/firecracker", "/run/vmm/link"}) {
    CAPTURE(path);
    const Outcome started =
        JailHost::start("private", "", "--hypervisor-path " + path + " --jailer-path " + JailHost::kJailer);
    INFO(started.err << contents("/run/slicer/v/hypervisor.log"));
    REQUIRE(started.ok());
    CHECK(pings("/run/netns/slicer-v", "192.0.2.2"));
    CHECK(Runner::run("vm rm v").ok());
  }
  CHECK(VmmHost::leftovers() == "");
}

TEST_CASE("jailer: doctor, list and inspect tell of it, and a low limit of descriptors stays") {
  SLICER_NEEDS_KVM_DEVICE();
  const JailHost host;
  const std::string found = Runner::run("doctor").out;
  const bool told =
      found.find("jailer of the same release is there, /run/vmm/firecracker/jailer") != std::string::npos ||
      found.find("a jailer is there, /run/vmm/firecracker/jailer, but no cgroup v2") != std::string::npos;
  CHECK_MESSAGE(told, found);
  install_stand_in("stand_in_jailer", JailHost::kJailer, "1.7.0");
  CHECK(Runner::run("doctor").out.find("is jailer 1.7, but ") != std::string::npos);
  install_stand_in("stand_in_jailer", JailHost::kJailer, "1.16.0");

  std::string script = "ulimit -n 500; exec";
  for (const std::string& word :
       Runner::argv("vm new v --network private --ram-mb 64 --hypervisor firecracker --jailer "
                    "--kernel " +
                    std::string(VmmHost::kKernel)))
    script += " " + word;
  const Outcome started = run({"sh", "-c", script});
  INFO(started.err);
  REQUIRE(started.ok());
  CHECK(contents(proc("limits")).find("Max open files            500                  500 ") != std::string::npos);
  CHECK(Runner::vm("v")["jailer"] == true);
  CHECK(Runner::run("inspect v").out.find("firecracker by its jailer, kvm, 1 vCPU, 64 MiB") != std::string::npos);
  CHECK(Runner::run("vm rm v").ok());
  REQUIRE(VmmHost::start("firecracker", "private").ok());
  CHECK(Runner::vm("v")["jailer"] == false);
  CHECK(Runner::run("vm rm v").ok());
}

TEST_CASE("jailer: a host group says so, its VM has a cgroup of its own with limits, and ends with it") {
  SLICER_NEEDS_KVM_DEVICE();
  const JailHost host;
  const OwnCgroup cgroup;
  if (!cgroup.missing().empty()) SLICER_SKIP(cgroup.missing());
  fs::create_directories("/run/image");
  fs::copy(VmmHost::kKernel, "/run/image/vmlinux");
  write_text("/run/group.yaml",
             "config:\n  host_groups:\n    - name: web\n      count: 1\n      network_name: host\n"
             "      image: /run/image\n      ram_mb: 64\n      hypervisor: firecracker\n      jailer: true\n");
  const Outcome up = Runner::run("up -d /run/group.yaml");
  INFO(up.out << up.err);
  REQUIRE(up.ok());
  const int pid = Runner::vm("web-1")["hypervisorPid"];
  const std::string group = cgroup.root() + "/slicer/vm-web-1";
  CHECK(contents(group + "/cgroup.procs") == std::to_string(pid) + "\n");
  if (exists(group + "/pids.max")) CHECK(contents(group + "/pids.max") == "65\n");
  if (exists(group + "/memory.max")) CHECK(contents(group + "/memory.max") == std::to_string(193U << 20U) + "\n");
  CHECK(Runner::run("down web").ok());
  CHECK_FALSE(exists(cgroup.root() + "/slicer"));

  REQUIRE(JailHost::start("host").ok());
  const pid_t supervisor = Runner::vm("v")["supervisorPid"];
  CHECK(exists(cgroup.root() + "/slicer/vm-v"));
  REQUIRE(kill(supervisor, SIGKILL) == 0);
  CHECK(eventually([&] { return !runs(supervisor); }));
  CHECK(Runner::run("gc").ok());
  CHECK_FALSE(exists(cgroup.root() + "/slicer"));
}

}  // namespace slicer::test
