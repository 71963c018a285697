// When a VM that ended is booted again, and what of a running one is not as its file says.

#include <doctest/doctest.h>
#include <unistd.h>

#include "runner/groups/group_diff.h"
#include "runner/groups/group_keeper.h"
#include "tests/unit/runner/temp_folder.h"

namespace slicer::runner {

using namespace std::chrono_literals;

TEST_CASE("restart: what each policy makes of each end") {
  using enum EndReason;
  for (const auto reason : {kAsked, kGuest, kReset, kFailed}) CHECK_FALSE(wants_restart(RestartPolicy::kNo, reason));
  CHECK_FALSE(wants_restart(RestartPolicy::kNo, std::nullopt));
  CHECK_FALSE(wants_restart(RestartPolicy::kAlways, kAsked));
  CHECK(wants_restart(RestartPolicy::kAlways, kGuest));
  CHECK(wants_restart(RestartPolicy::kAlways, std::nullopt));
  CHECK_FALSE(wants_restart(RestartPolicy::kOnFailure, kAsked));
  CHECK_FALSE(wants_restart(RestartPolicy::kOnFailure, kGuest));
  CHECK(wants_restart(RestartPolicy::kOnFailure, kReset));
  CHECK(wants_restart(RestartPolicy::kOnFailure, kFailed));
  CHECK(wants_restart(RestartPolicy::kOnFailure, std::nullopt));
}

TEST_CASE("restart: the wait doubles up to a minute, and begins anew after a minute of life") {
  BackOff back_off;
  for (const auto wait : {1s, 2s, 4s, 8s, 16s, 32s, 60s, 60s}) CHECK(back_off.after_end(59s) == wait);
  for (int i = 0; i < 100; ++i) CHECK(back_off.after_end(0s) == 60s);
  CHECK(back_off.after_end(60s) == 1s);
  CHECK(back_off.after_end(1s) == 2s);
}

TEST_CASE("epitaph: left for a keeper that lives, taken once, and only the supervisor's own") {
  const test::TempFolder folder;
  Settings settings;
  settings.state_dir = folder.path();
  const Result<ProcessId> self = identify_process(getpid());
  REQUIRE(self);
  CHECK(leave_epitaph(settings, "vm", "vm-1", {.supervisor = *self, .reason = EndReason::kGuest}));
  CHECK_FALSE(take_epitaph(settings, "vm-1", *self));  // nobody keeps the group
  folder.write(".group-vm.lock", "{\"pid\": " + std::to_string(self->pid) + ", \"startTime\": 1}");
  CHECK(leave_epitaph(settings, "vm", "vm-1", {.supervisor = *self, .reason = EndReason::kGuest}));
  CHECK_FALSE(take_epitaph(settings, "vm-1", *self));  // the keeper was killed
  folder.write(".group-vm.lock",
               "{\"pid\": " + std::to_string(self->pid) + ", \"startTime\": " + std::to_string(self->start_time) + "}");
  CHECK(leave_epitaph(settings, "vm", "vm-1", {.supervisor = *self, .reason = EndReason::kGuest}));
  CHECK(take_epitaph(settings, "vm-1", *self) == EndReason::kGuest);
  CHECK_FALSE(take_epitaph(settings, "vm-1", *self));
  CHECK(leave_epitaph(settings, "vm", "vm-1", {.supervisor = *self, .reason = EndReason::kReset}));
  CHECK_FALSE(take_epitaph(settings, "vm-1", {.pid = self->pid, .start_time = 1}));
  CHECK(leave_epitaph(settings, "vm", "vm-2", {.supervisor = *self, .reason = EndReason::kReset}));
  forget_epitaphs(settings, "other");
  CHECK(take_epitaph(settings, "vm-2", *self) == EndReason::kReset);
}

TEST_CASE("group diff: lists alone can be taken over, the rest wants a new VM") {
  const auto network = [](const std::string& bridge, const std::string& firewall) {
    const auto list = chain::parse_conflist(
        R"({"name": "vm", "plugins": [{"type": "slicer-bridge", "bridge": ")" + bridge + "\"}" + firewall + "]}", "f");
    REQUIRE(list);
    return *list;
  };
  const std::string none = R"(, {"type": "slicer-firewall", "capabilities": {"policy": true}})";
  const std::string some = R"(, {"type": "slicer-firewall", "capabilities": {"policy": true}, "drop": ["192.0.2.1"]})";
  CHECK(only_lists_differ(network("br0", none), network("br0", some)));
  CHECK_FALSE(only_lists_differ(network("br0", none), network("br0", none)));
  CHECK_FALSE(only_lists_differ(network("br0", none), network("br1", some)));

  VmRecord running;
  running.network = "vm";
  running.conflist = network("br0", none).bytes;
  running.vcpus = 1;
  running.ram_mib = 256;
  running.capability_args = {{"ips", {"192.0.2.7/24"}}, {"mac", "02:00:00:00:00:01"}};
  VmRequest wanted;
  wanted.network = network("br0", some);
  CHECK(changed_keys(running, wanted).empty());
  wanted.network = network("br1", none);
  wanted.definition.vcpus = 2;
  wanted.definition.capability_args = {{"mac", "02:00:00:00:00:02"}};
  CHECK(changed_keys(running, wanted) == std::vector<std::string>{"vcpu", "mac", "network"});
}

}  // namespace slicer::runner
