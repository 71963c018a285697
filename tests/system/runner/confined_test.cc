// What a hypervisor is started with, by a program that tells it.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>

#include "runner/hypervisor/confined_process.h"
#include "tests/system/runner/runner_support.h"

namespace slicer::test {
namespace {

using runner::ConfinedProcess;
using runner::ConfinedSpec;

/// Runs a shell line as the hypervisor's user; what it wrote.
std::string confined(const std::string& line, bool kvm) {
  const std::string log = "/run/confined.log";
  (void)std::remove(log.c_str());
  const auto process = ConfinedProcess::start(
      {.argv = {"/bin/sh", "-c", line}, .log = log, .uid = Runner::kUid, .gid = Runner::kUid, .kvm = kvm});
  if (!process) return process.error().message;
  (void)runner::wait_for_end(process->pidfd(), 10000);
  return contents(log);
}

}  // namespace

TEST_CASE("runner: a hypervisor reaches /dev/kvm, by a node that nobody else sees") {
  struct stat device{};
  if (stat("/dev/kvm", &device) != 0) SLICER_SKIP("there is no /dev/kvm here");
  if ((device.st_mode & 0006U) != 0) SLICER_SKIP("everybody may open /dev/kvm here");
  const Host host;
  REQUIRE(mkdir("/run/slicer", 0755) == 0);
  CHECK(confined("exec 3<>/dev/kvm && echo opened", false).find("Permission denied") != std::string::npos);
  CHECK(confined("exec 3<>/dev/kvm && echo opened", true) == "opened\n");
  struct stat after{};
  REQUIRE(stat("/dev/kvm", &after) == 0);
  CHECK(after.st_mode == device.st_mode);
  CHECK(after.st_uid == device.st_uid);
  CHECK_FALSE(exists("/run/slicer/kvm"));
}

TEST_CASE("runner: a hypervisor that cannot be started is an error that says why") {
  const Host host;
  const auto process = ConfinedProcess::start(
      {.argv = {"/nonexistent/qemu"}, .log = "/run/log", .uid = Runner::kUid, .gid = Runner::kUid});
  REQUIRE_FALSE(process);
  CHECK(process.error().message == "start '/nonexistent/qemu': run the program: No such file or directory (ENOENT)");
}

TEST_CASE("runner: a hypervisor's stdin is empty, its folder is /, its environment is its own") {
  const Host host;
  CHECK(confined("cat; pwd; echo \"[$HOME$USER]\"; ulimit -c", false) == "/\n[]\n0\n");
}

TEST_CASE("runner: a hypervisor reaches no other one, though all run as one user") {
  const long landlock = syscall(SYS_landlock_create_ruleset, nullptr, 0, 1);  // its version
  if (landlock < 1) SLICER_SKIP("this kernel has no Landlock");
  const Host host;
  const auto other = ConfinedProcess::start(
      {.argv = {"/bin/sleep", "1000"}, .log = "/run/other.log", .uid = Runner::kUid, .gid = Runner::kUid});
  REQUIRE(other);
  const std::string pid = std::to_string(other->id().pid);
  CHECK(confined("readlink /proc/" + pid + "/fd/2", false).empty());
  CHECK(confined("exec 3</proc/" + pid + "/mem && echo opened", false).find("opened\n") == std::string::npos);
  if (landlock >= 6)  // Linux 6.12
    CHECK(confined("kill -9 " + pid + " && echo killed", false).find("killed\n") == std::string::npos);
  CHECK(runs(other->id().pid));
  CHECK(confined("kill -0 $$ && readlink /proc/$$/fd/0 && echo itself", false) == "/dev/null\nitself\n");
}

}  // namespace slicer::test
