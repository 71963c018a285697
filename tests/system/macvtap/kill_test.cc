// slicer-macvtap killed at every system call: the next DEL or GC leaves nothing of the attachment.
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/system/fixture/kill_at_syscall.h"
#include "tests/system/macvtap/macvtap_support.h"

using namespace slicer::test;
using namespace slicer::test::macvtap;

namespace {

struct Sweep {
  Json conf = quick_conf();
  Call call = {};
  std::function<void()> before = [] {};
  std::function<void()> clean_up = {};
  SnapshotOptions seen = {};
  long step = 1;
};

/// Kills the call everywhere; after each clean-up the state must be the one from before.
void sweep(const Sweep& what) {
  Call first = what.call;
  first.command = "ADD";
  (void)add(what.conf, first);
  del(what.conf, first);
  const std::string before = snapshot(what.seen);
  const long rounds =
      kill_at_every_syscall({.plugin = kPlugin, .conf = what.conf, .call = what.call, .step = what.step}, what.before,
                            [&](const KillOutcome& outcome) {
                              INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
                              what.clean_up();
                              CHECK(difference(before, snapshot(what.seen)) == "");
                            });
  CHECK(rounds * what.step > 40);
}

void collect() {
  const Answer answer = call(with(quick_conf(), "/cni.dev~1valid-attachments", Json::array()), {.command = "GC"});
  INFO(answer.text());
  REQUIRE(answer.ok());
}

}  // namespace

TEST_CASE("macvtap kill: ADD, then DEL") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  sweep({.call = call_in("ADD", box),
         .clean_up = [&] { del(quick_conf(), call_in("DEL", box)); },
         .seen = {.netns = {box.path()}}});
}

TEST_CASE("macvtap kill: ADD that meets an address in use, then DEL") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  // The only address is the machine's: no round waits for answers that do not come.
  const Json conf = with(static_conf(), "/ipam/range", "198.51.100.3-198.51.100.3");
  const long rounds = kill_at_every_syscall(
      {.plugin = kPlugin, .conf = conf, .call = call_in("ADD", box), .loader = 90}, [] {},
      [&](const KillOutcome& outcome) {
        INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
        del(conf, call_in("DEL", box));
        CHECK(must("find /var/lib/cni -name 198.51.100.*") == "");
        CHECK(must("ip -o link show type macvtap", box.path()) == "");
      });
  CHECK(rounds > 20);
}

TEST_CASE("macvtap kill: DEL, then DEL") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  sweep({.call = call_in("DEL", box),
         .before = [&] { (void)add(quick_conf(), call_in("ADD", box)); },
         .clean_up = [&] { del(quick_conf(), call_in("DEL", box)); },
         .seen = {.netns = {box.path()}}});
}

TEST_CASE("macvtap kill: ADD, then GC") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  sweep({.call = call_in("ADD", box), .clean_up = collect, .seen = {.netns = {box.path()}}, .step = 2});
}

TEST_CASE("macvtap kill: DEL, then GC") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  sweep({.call = call_in("DEL", box),
         .before = [&] { (void)add(quick_conf(), call_in("ADD", box)); },
         .clean_up = collect,
         .seen = {.netns = {box.path()}},
         .step = 2});
}

TEST_CASE("macvtap kill: ADD, then the namespace goes, then DEL") {
  const Host host;
  const Surroundings around;
  const Netns settled("settled");
  (void)add(quick_conf(), call_in("ADD", settled));
  del(quick_conf(), call_in("DEL", settled));
  const std::string before = snapshot();
  std::unique_ptr<Netns> box;
  (void)kill_at_every_syscall(
      {.plugin = kPlugin, .conf = quick_conf(), .call = {.netns = "/run/netns/box", .ifname = "tap0"}, .step = 7},
      [&] { box = std::make_unique<Netns>("box"); },
      [&](const KillOutcome& outcome) {
        INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
        const Call how = call_in("DEL", *box);
        box.reset();
        del(quick_conf(), how);
        CHECK(eventually([&] { return difference(before, snapshot()).empty(); }));
      });
}
