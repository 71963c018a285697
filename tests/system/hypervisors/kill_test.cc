// A jailed VM's life, killed at any moment: nothing of the jail stays.
#include <doctest/doctest.h>

#include <filesystem>

#include "tests/system/fixture/kill_at_syscall.h"
#include "tests/system/hypervisors/own_cgroup.h"
#include "tests/system/hypervisors/vmm_support.h"

namespace slicer::test {
namespace {

RunOptions patient() { return {.deadline = std::chrono::seconds(60)}; }
constexpr long kRounds = 10;

std::vector<std::string> whole_life() {
  std::string script;
  for (const std::string& line : {"vm new v --network private --ram-mb 64 --hypervisor firecracker --jailer --kernel " +
                                      std::string(VmmHost::kKernel),
                                  std::string("vm rm v --now")}) {
    for (const std::string& word : Runner::argv(line)) script += word + " ";
    script += "&& ";
  }
  return {"sh", "-c", script + "echo all"};
}

void check_cleaned_up(const OwnCgroup& cgroup) {
  const Outcome cleaned = Runner::run("gc");
  INFO(cleaned.out << cleaned.err);
  CHECK(cleaned.ok());
  if (!Runner::vm("v").is_null()) CHECK(Runner::run("vm rm v --now").ok());  // only the command was killed
  CHECK(eventually([] { return VmmHost::leftovers().empty(); }));
  CHECK(VmmHost::leftovers() == "");
  if (cgroup.missing().empty()) CHECK_FALSE(exists(cgroup.root() + "/slicer"));
}

}  // namespace

TEST_CASE("jailer: killed at any moment with all its processes, gc leaves nothing of the jail") {
  SLICER_NEEDS_KVM_DEVICE();
  const VmmHost host;
  const OwnCgroup cgroup;
  install_stand_in("stand_in_jailer", "/run/vmm/firecracker/jailer", "1.16.0");
  const KillOutcome whole = run_killed_at(whole_life(), patient(), 0);
  INFO(whole.outcome.err);
  REQUIRE(whole.outcome.ok());
  const long step = whole.syscalls / kRounds;
  for (long nth = step; nth < whole.syscalls; nth += step) {
    CAPTURE(nth);
    (void)run_killed_at(whole_life(), patient(), nth);
    check_cleaned_up(cgroup);
  }
}

TEST_CASE("jailer: the supervisor, the jail's first process or the jailer's beginning killed alone, nothing stays") {
  SLICER_NEEDS_KVM_DEVICE();
  const VmmHost host;
  const OwnCgroup cgroup;
  install_stand_in("stand_in_jailer", "/run/vmm/firecracker/jailer", "1.16.0");
  const KillOutcome whole = run_child_killed_at(whole_life(), patient(), 0, "slicer-run");
  INFO(whole.outcome.err);
  REQUIRE(whole.outcome.ok());
  const long step = whole.syscalls / kRounds;
  for (long nth = step; nth < whole.syscalls; nth += step) {
    CAPTURE(nth);
    const KillOutcome killed = run_child_killed_at(whole_life(), patient(), nth, "slicer-run");
    INFO(killed.outcome.err);
    CHECK(killed.outcome.exit_code < 128);
    check_cleaned_up(cgroup);
  }
}

}  // namespace slicer::test
