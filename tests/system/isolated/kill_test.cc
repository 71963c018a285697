// slicer-isolated killed at every system call: the next DEL or GC leaves nothing of the attachment.
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/system/fixture/kill_at_syscall.h"
#include "tests/system/isolated/isolated_support.h"

using namespace slicer::test;
using namespace slicer::test::isolated;

namespace {

// The loader's calls come first and change nothing.
constexpr long kFirst = 25;

struct Sweep {
  Call call = {};
  std::function<void()> before = [] {};
  std::function<void()> clean_up = {};
  SnapshotOptions seen = {};
  long step = 1;
};

/// Kills the call everywhere; after each clean-up the state must be the one from before.
void sweep(const Sweep& what) {
  const std::string before = settled_snapshot(sandbox_conf(), what.call, what.seen);
  const long rounds = kill_at_every_syscall(
      {.plugin = kPlugin, .conf = sandbox_conf(), .call = what.call, .first = kFirst, .step = what.step}, what.before,
      [&](const KillOutcome& outcome) {
        INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
        what.clean_up();
        CHECK(difference(before, snapshot(what.seen)) == "");
      });
  CHECK(rounds * what.step > 60);
}

void collect() {
  const Answer answer = call(with(sandbox_conf(), "/cni.dev~1valid-attachments", Json::array()), {.command = "GC"});
  INFO(answer.text());
  REQUIRE(answer.ok());
}

}  // namespace

TEST_CASE("isolated kill: ADD, then DEL") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Netns box("box");
  sweep({.call = call_in("ADD", box),
         .clean_up = [&] { del(sandbox_conf(), call_in("DEL", box)); },
         .seen = {.netns = {box.path()}}});
}

TEST_CASE("isolated kill: DEL, then DEL") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Netns box("box");
  sweep({.call = call_in("DEL", box),
         .before = [&] { (void)add(sandbox_conf(), call_in("ADD", box)); },
         .clean_up = [&] { del(sandbox_conf(), call_in("DEL", box)); },
         .seen = {.netns = {box.path()}}});
}

TEST_CASE("isolated kill: ADD, then GC") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Netns box("box");
  sweep({.call = call_in("ADD", box), .clean_up = collect, .seen = {.netns = {box.path()}}, .step = 2});
}

TEST_CASE("isolated kill: DEL, then GC") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Netns box("box");
  sweep({.call = call_in("DEL", box),
         .before = [&] { (void)add(sandbox_conf(), call_in("ADD", box)); },
         .clean_up = collect,
         .seen = {.netns = {box.path()}},
         .step = 2});
}

TEST_CASE("isolated kill: ADD, then the namespace goes, then DEL") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Netns settled("settled");
  const std::string before = settled_snapshot(sandbox_conf(), call_in("ADD", settled));
  std::unique_ptr<Netns> box;
  (void)kill_at_every_syscall(
      {.plugin = kPlugin,
       .conf = sandbox_conf(),
       .call = {.netns = "/run/netns/box", .ifname = "tap0"},
       .first = kFirst,
       .step = 5},
      [&] { box = std::make_unique<Netns>("box"); },
      [&](const KillOutcome& outcome) {
        INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
        const Call how = call_in("DEL", *box);
        box.reset();
        del(sandbox_conf(), how);
        CHECK(eventually([&] { return difference(before, snapshot()).empty(); }));
      });
}
