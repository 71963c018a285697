// slicer-isolated killed at every system call: the next DEL or GC leaves nothing of the attachment.
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/system/fixture/kill_at_syscall.h"
#include "tests/system/isolated/isolated_support.h"

using namespace slicer::test;
using namespace slicer::test::isolated;

namespace {

/// Legacy tables take many more calls, of which each table's last alone changes anything.
const long kStride = is_legacy() ? 5 : 1;

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
  const long step = what.step * kStride;
  const long rounds =
      kill_at_every_syscall({.plugin = kPlugin, .conf = sandbox_conf(), .call = what.call, .step = step}, what.before,
                            [&](const KillOutcome& outcome) {
                              INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
                              what.clean_up();
                              CHECK(difference(before, snapshot(what.seen)) == "");
                            });
  CHECK(rounds * step > 60);
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
       .step = 5 * kStride},
      [&] { box = std::make_unique<Netns>("box"); },
      [&](const KillOutcome& outcome) {
        INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
        const Call how = call_in("DEL", *box);
        box.reset();
        del(sandbox_conf(), how);
        CHECK(eventually([&] { return difference(before, snapshot()).empty(); }));
      });
}

TEST_CASE("isolated kill: slicer-firewall's ADD with lists and an opening, then DEL of both") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const Netns box("box");
  const Call how = call_in("ADD", box);
  const SnapshotOptions seen{.netns = {box.path()}};
  Json conf = {{"cniVersion", "1.1.0"}, {"name", "sandbox"}, {"type", "slicer-firewall"}};
  conf["drop"] = {"203.0.113.0/24", "192.0.2.0/24:80"};
  conf["allow"] = {Surroundings::kHost, "192.0.2.7:80"};
  const auto firewall = [&](const char* command, const Json& result) {
    Json whole = conf;
    whole.erase("prevResult");
    if (!result.is_null()) whole["prevResult"] = result;
    Call call = how;
    call.command = command;
    const Answer answer = call_plugin("slicer-firewall", whole, call);
    if (!answer.ok()) give_up(std::string(command) + ": " + answer.text());
  };
  const Json result = add(sandbox_conf(), how);
  firewall("ADD", result);
  firewall("DEL", nullptr);
  del(sandbox_conf(), how);
  const std::string before = snapshot(seen);
  // The same block again: an explicit request.
  Call again = how;
  again.args = "IP=" + ip_of(result, 4);
  conf["prevResult"] = result;
  const char* command = "ADD";
  SUBCASE("ADD") {}
  SUBCASE("DEL") { command = "DEL"; }
  Call killed = how;
  killed.command = command;
  const long rounds = kill_at_every_syscall(
      {.plugin = "slicer-firewall", .conf = conf, .call = killed, .step = 3 * kStride},
      [&] {
        (void)add(sandbox_conf(), again);
        if (killed.command == "DEL") firewall("ADD", result);
      },
      [&](const KillOutcome& outcome) {
        INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
        firewall("DEL", nullptr);
        del(sandbox_conf(), how);
        CHECK(difference(before, snapshot(seen)) == "");
      });
  CHECK(rounds > 10);
}
