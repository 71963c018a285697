// An ADD with limits, or its DEL, killed at every system call: the next DEL or GC leaves nothing of it.
#include <doctest/doctest.h>

#include "tests/system/fixture/kill_at_syscall.h"
#include "tests/system/rate/rate_support.h"

using namespace slicer::test;
using namespace slicer::test::rate;

namespace {

constexpr Limits kBoth{.ingress_rate = 9000, .ingress_burst = 9000, .egress_rate = 9000, .egress_burst = 9000};

void must_work(const std::string& plugin, const Json& conf, Call how, const std::string& command) {
  how.command = command;
  const Answer answer = call_plugin(plugin, conf, how);
  INFO(command, ": ", answer.text());
  REQUIRE(answer.ok());
}

/// Kills `command` everywhere; after `end` (DEL, GC) the state must be the one from before.
void sweep(const std::string& mode_name, const std::string& command, const std::string& end) {
  for (const Mode& mode : all_modes()) {
    if (mode.name != mode_name) continue;
    const Host host;
    const Surroundings around;
    const Netns box("box");
    const Call how{.netns = mode.in_host ? Host::netns() : box.path(), .ifname = "tvm"};
    const Json conf = behind(mode, limited(mode.conf, kBoth), how);
    if (mode.before.is_null()) {  // what belongs to the network stays
      must_work(mode.plugin, conf, how, "ADD");
      must_work(mode.plugin, conf, how, "DEL");
    }
    const SnapshotOptions seen{.netns = {box.path()}};
    const std::string before = snapshot(seen);
    Call killed = how;
    killed.command = command;
    const long rounds = kill_at_every_syscall(
        {.plugin = mode.plugin, .conf = conf, .call = killed, .loader = mode.before.is_null() ? 100 : 25, .step = 3},
        [&] {
          if (command == "DEL") must_work(mode.plugin, conf, how, "ADD");
        },
        [&](const KillOutcome& outcome) {
          INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
          must_work(mode.plugin, with(conf, "/cni.dev~1valid-attachments", Json::array()), how, end);
          CHECK(difference(before, snapshot(seen)) == "");
        });
    CHECK(rounds > 12);
  }
}

}  // namespace

TEST_CASE("rate kill: ADD with an ifb on the host, then DEL") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  sweep("bridge, host", "ADD", "DEL");
}

TEST_CASE("rate kill: ADD with an ifb on the host, then GC") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  sweep("bridge, host", "ADD", "GC");
}

TEST_CASE("rate kill: DEL with an ifb on the host, then GC") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  sweep("bridge, host", "DEL", "GC");
}

TEST_CASE("rate kill: ADD with an ifb beside a macvtap, then DEL") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  sweep("macvtap", "ADD", "DEL");
}

TEST_CASE("rate kill: ADD with an ifb beside a macvtap, then GC") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  sweep("macvtap", "ADD", "GC");
}

TEST_CASE("rate kill: ADD without an ifb, then DEL") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  sweep("bridge, private", "ADD", "DEL");
  sweep("isolated", "ADD", "DEL");
}

TEST_CASE("rate kill: ADD behind a container's interface, then DEL or GC") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  sweep("chained", "ADD", "DEL");
  sweep("chained", "ADD", "GC");
}

TEST_CASE("rate kill: DEL behind a container's interface, then DEL or GC") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  sweep("chained", "DEL", "DEL");
  sweep("chained", "DEL", "GC");
}

TEST_CASE("rate kill: a second ADD behind a container's interface, which changes the limits, then the same, then DEL") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  const Mode mode = chained_mode();
  const Host host;
  const Netns box("box");
  const Call how{.netns = box.path(), .ifname = "tvm"};
  const Json limits = behind(mode, limited(mode.conf, kBoth), how);
  const Json fewer =
      with(limits, "runtimeConfig", limited({}, {.ingress_rate = 5000, .ingress_burst = 9000})["runtimeConfig"]);
  const SnapshotOptions seen{.netns = {box.path()}};
  const std::string before = snapshot(seen);
  for (const auto& [first, second] : {std::pair{limits, fewer}, std::pair{fewer, limits}}) {
    (void)kill_at_every_syscall(
        {.plugin = mode.plugin, .conf = second, .call = how, .step = 4},
        [&] { must_work(mode.plugin, first, how, "ADD"); },
        [&](const KillOutcome& outcome) {
          INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
          const Answer again = call_plugin(mode.plugin, second, how);
          INFO(again.text());
          REQUIRE(again.ok());
          must_work(mode.plugin, with(second, "prevResult", again.json), how, "CHECK");
          const bool limited_there = must("tc qdisc show dev tvm", box.path()).find("tbf") != std::string::npos;
          CHECK(limited_there == (second == limits));
          must_work(mode.plugin, second, how, "DEL");
          CHECK(difference(before, snapshot(seen)) == "");
        });
  }
}
