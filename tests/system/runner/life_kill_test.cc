// A VM's processes killed at every moment of its life.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "tests/system/fixture/kill_at_syscall.h"
#include "tests/system/runner/life_support.h"

namespace slicer::test {
namespace {

std::string names_in(const std::string& folder) {
  std::string names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names += entry.path().filename().string() + " ";
  return names;
}

// What a VM goes through, one command after the other.
std::vector<std::string> whole_life() {
  std::string script;
  for (const char* line : {"vm new demo-1 --network private --kernel /run/tiny-kernel --storage 16M", "vm stop demo-1",
                           "vm start demo-1", "vm rm demo-1"}) {
    for (const std::string& word : Runner::argv(line)) script += word + " ";
    script += "&& ";
  }
  return {"sh", "-c", script + "echo all"};
}

// SLICER_KILL_ROUNDS: at how many system calls something is killed; 0: at every one.
long kill_step(long syscalls, long rounds) {
  if (const char* wish = std::getenv("SLICER_KILL_ROUNDS"); wish != nullptr) rounds = std::atol(wish);
  return rounds == 0 ? 1 : std::max(syscalls / rounds, 1L);
}

void check_cleaned_up() {
  const std::string state = state_of("demo-1");
  CHECK_MESSAGE((state == "none" || state == "dead" || state == "stopped"), state);
  const Outcome cleaned = Runner::run("gc");
  INFO(cleaned.err);
  CHECK(cleaned.ok());
  CHECK_FALSE(exists("/run/slicer/demo-1"));
  CHECK_FALSE(exists("/run/netns/slicer-demo-1"));
  const std::string then = state_of("demo-1");
  CHECK_MESSAGE((then == "none" || then == "stopped"), then);
  if (then == "stopped") CHECK(exists(kKept + "/disk.raw"));
  if (exists(kKept)) CHECK(Runner::run("vm rm demo-1").ok());
  CHECK_FALSE(exists(kKept));
  CHECK(names_in("/var/lib/cni/results") == "");
}

constexpr RunOptions kPatient{.deadline = std::chrono::seconds(60)};

}  // namespace

TEST_CASE("life: restart, and QEMU or the supervisor killed meanwhile: afterwards the VM can be started") {
  const StandInMachine machine;
  for (const char* which : {"hypervisorPid", "supervisorPid"}) {
    CAPTURE(which);
    REQUIRE(Runner::start("demo-1", "host", "--cmdline deaf --storage 16M").ok());
    const pid_t victim = Runner::vm("demo-1")[which];
    const Background restart(Runner::argv("vm restart demo-1 --timeout 600"), "");
    REQUIRE(eventually([] { return state_of("demo-1") == "stopping"; }));
    REQUIRE(kill(victim, SIGKILL) == 0);
    CHECK(eventually([] { return state_of("demo-1") == "running"; }));
    CHECK(Runner::vm("demo-1")[which] != victim);
    CHECK(Runner::run("vm rm demo-1 --now").ok());
    CHECK_FALSE(exists(kKept));
  }
}

TEST_CASE("life: the supervisor killed while it restarts or stops: list tells the truth, gc and vm start go on") {
  const StandInMachine machine;
  REQUIRE(Runner::start("demo-1", "host", "--cmdline deaf").ok());
  const pid_t supervisor = Runner::vm("demo-1")["supervisorPid"];
  const Background stop(Runner::argv("vm stop demo-1 --timeout 600"), "");
  REQUIRE(eventually([] { return state_of("demo-1") == "stopping"; }));
  kill_and_wait(supervisor);
  // The command that waited for it cleans up after it.
  REQUIRE(eventually([] { return state_of("demo-1") == "stopped"; }));
  CHECK(Runner::run("vm start demo-1").ok());
  kill_and_wait(Runner::vm("demo-1")["supervisorPid"]);
  CHECK(state_of("demo-1") == "dead");
  CHECK(Runner::run("vm stop demo-1").out == "demo-1 is stopped\n");  // of a dead VM: kept, what it left removed
  CHECK(state_of("demo-1") == "stopped");
  CHECK(Runner::run("vm start demo-1").ok());
  kill_and_wait(Runner::vm("demo-1")["supervisorPid"]);
  CHECK(Runner::run("vm start demo-1").ok());  // of a dead VM: the same
  CHECK(state_of("demo-1") == "running");
}

// All processes at once: a power cut for the runner.
TEST_CASE("life: killed at any moment, list tells the truth, gc cleans up, and the name can be used") {
  const StandInMachine machine;
  const KillOutcome whole = run_killed_at(whole_life(), kPatient, 0);
  INFO(whole.outcome.err);
  REQUIRE(whole.outcome.ok());
  const long step = kill_step(whole.syscalls, 48);
  for (long nth = step; nth < whole.syscalls; nth += step) {
    CAPTURE(nth);
    (void)run_killed_at(whole_life(), kPatient, nth);
    check_cleaned_up();
  }
  CHECK(Runner::start("demo-1", "private", "--storage 16M").ok());
}

// The supervisor (or what it forks) alone, while the command that waits for it lives: at its start and at its end.
TEST_CASE("life: the supervisor killed at any moment, its command ends, list tells the truth and gc leaves nothing") {
  const StandInMachine machine;
  const KillOutcome whole = run_child_killed_at(whole_life(), kPatient, 0, "slicer-run");
  INFO(whole.outcome.err);
  REQUIRE(whole.outcome.ok());
  REQUIRE(whole.syscalls > 100);
  const long step = kill_step(whole.syscalls, 24);
  for (long nth = step; nth < whole.syscalls; nth += step) {
    CAPTURE(nth);
    const KillOutcome killed = run_child_killed_at(whole_life(), kPatient, nth, "slicer-run");
    INFO(killed.outcome.err);
    CHECK(killed.outcome.exit_code < 128);
    check_cleaned_up();
  }
  CHECK(Runner::start("demo-1", "private", "--storage 16M").ok());
}

}  // namespace slicer::test
