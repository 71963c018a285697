// Firecracker through its jailer: the stand-in makes a real jail, and the stand-in of Firecracker in it answers.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

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

std::string proc(const std::string& file) {
  return "/proc/" + std::to_string(Runner::vm("v")["hypervisorPid"].get<int>()) + "/" + file;
}

std::string status_line(const std::string& name) {
  const std::string status = "\n" + contents(proc("status"));
  const size_t at = status.find("\n" + name + ":\t");
  return at == std::string::npos ? "" : status.substr(at + 1, status.find('\n', at + 1) - at - 1);
}

}  // namespace

TEST_CASE("jailer: a VM on a TAP of the host and of a private namespace, with disks, answers from its jail") {
  SLICER_NEEDS_KVM_DEVICE();
  const JailHost host;
  std::ofstream("/run/disk.img") << "disk";
  fs::resize_file("/run/disk.img", 1 << 20);
  fs::permissions("/run", fs::perms::others_exec, fs::perm_options::remove);  // nothing on the way is open to slicer-vm
  for (const std::string network : {"host", "private"}) {
    CAPTURE(network);
    const Outcome started = JailHost::start(network, "", "--disk /run/disk.img --storage 2M");
    INFO(started.err << contents("/run/slicer/v/hypervisor.log"));
    REQUIRE(started.ok());
    CHECK(started.out == "v runs: 192.0.2.2/24 on network '" + network + "' (firecracker, kvm)\n");
    CHECK(pings(network == "host" ? Host::netns() : "/run/netns/slicer-v", "192.0.2.2"));
    CHECK(Runner::says("v", "STAND-IN-READY quiet console=ttyS0 hostname=v"));
    const std::string uid = std::to_string(Runner::kUid);
    CHECK(status_line("Uid") == "Uid:\t" + uid + "\t" + uid + "\t" + uid + "\t" + uid);
    CHECK(status_line("NSpid").ends_with("\t2"));
    CHECK(status_line("NoNewPrivs") == "NoNewPrivs:\t1");
    CHECK(fs::exists(proc("root/disk0")));
    CHECK(fs::exists(proc("root/firecracker.json")));
    CHECK_FALSE(fs::exists(proc("root/usr")));
    CHECK(fs::is_empty("/run/slicer/v/jail"));  // the host sees nothing of it
    CHECK(Runner::run("vm stop v").out == "v is stopped\n");
    CHECK(Runner::run("vm start v").ok());
    CHECK(fs::exists(proc("root/firecracker.json")));
    CHECK(Runner::run("vm rm v").ok());
    CHECK(VmmHost::leftovers() == "");
  }
}

}  // namespace slicer::test
