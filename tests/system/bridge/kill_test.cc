// slicer-bridge killed at every system call: the next DEL or GC leaves nothing of the attachment.
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/system/bridge/bridge_support.h"
#include "tests/system/fixture/kill_at_syscall.h"

using namespace slicer::test;
using namespace slicer::test::bridge;

namespace {

void must_work(const Answer& answer) {
  INFO(answer.text());
  REQUIRE(answer.ok());
}

struct Sweep {
  Json conf = {};
  Call call = {};
  std::function<void()> before = [] {};
  std::function<void()> clean_up = {};  ///< what must remove everything; DEL when it is not given
  SnapshotOptions seen = {};
  long step = 1;
};

/// Kills the call everywhere; after each DEL (or what the sweep says), the state must be the one from before.
void sweep(const Sweep& what) {
  Call del = what.call;
  del.command = "DEL";
  const auto clean_up = what.clean_up ? what.clean_up : [&] { must_work(call(what.conf, del)); };
  (void)settled_snapshot(what.conf, what.call);
  const std::string before = snapshot(what.seen);
  const long rounds =
      kill_at_every_syscall({.plugin = kPlugin, .conf = what.conf, .call = what.call, .step = what.step}, what.before,
                            [&](const KillOutcome& outcome) {
                              INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
                              clean_up();
                              CHECK(difference(before, snapshot(what.seen)) == "");
                            });
  CHECK(rounds * what.step > 60);
}

}  // namespace

TEST_CASE("bridge kill: ADD in the host's namespace, then DEL") {
  const Host host;
  sweep({.conf = dual_conf(), .call = host_call("ADD")});
}

TEST_CASE("bridge kill: DEL in the host's namespace, then DEL") {
  const Host host;
  sweep({.conf = dual_conf(), .call = host_call("DEL"), .before = [] { (void)add(dual_conf(), host_call("ADD")); }});
}

TEST_CASE("bridge kill: ADD in a private namespace, then DEL") {
  const Host host;
  const Netns box("box");
  sweep({.conf = demo_conf(), .call = private_call("ADD", box), .seen = {.netns = {box.path()}}});
}

TEST_CASE("bridge kill: DEL in a private namespace, then DEL") {
  const Host host;
  const Netns box("box");
  sweep({.conf = demo_conf(),
         .call = private_call("DEL", box),
         .before = [&] { (void)add(demo_conf(), private_call("ADD", box)); },
         .seen = {.netns = {box.path()}}});
}

TEST_CASE("bridge kill: ADD in a private namespace, then DEL without its name") {
  const Host host;
  const Netns box("box");
  Call del = private_call("DEL", box);
  del.netns = "";
  sweep({.conf = demo_conf(),
         .call = private_call("ADD", box),
         .clean_up = [&] { must_work(call(demo_conf(), del)); },
         .seen = {.netns = {box.path()}},
         .step = 2});
}

TEST_CASE("bridge kill: ADD of a container, then DEL") {
  const Host host;
  const Netns box("box");
  sweep({.conf = with(demo_conf(), "device", "veth"),
         .call = private_call("ADD", box, "pod-1", "eth0"),
         .seen = {.netns = {box.path()}},
         .step = 2});
}

TEST_CASE("bridge kill: ADD in either placement, then GC") {
  const Host host;
  const Netns box("box");
  const Json nobody = with(demo_conf(), "/cni.dev~1valid-attachments", Json::array());
  const auto collect = [&] { must_work(call(nobody, host_call("GC"))); };
  sweep({.conf = demo_conf(), .call = host_call("ADD"), .clean_up = collect, .step = 2});
  sweep({.conf = demo_conf(),
         .call = private_call("ADD", box),
         .clean_up = collect,
         .seen = {.netns = {box.path()}},
         .step = 2});
}

TEST_CASE("bridge kill: the first ADD of a network, then DEL, and the next ADD finds its way") {
  const Host host;
  const Json conf = dual_conf();
  const std::string before = settled_snapshot(conf, host_call("ADD"));
  kill_at_every_syscall(
      {.plugin = kPlugin, .conf = conf, .call = host_call("ADD"), .step = 2},
      [] {
        (void)run(words("ip link del slicer0"));
        (void)run(words("nft delete table inet slicer"));
        Host::sysctl("net/ipv4/ip_forward", "0");
      },
      [&](const KillOutcome& outcome) {
        INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
        must_work(call(conf, host_call("DEL")));
        const Json result = add(conf, host_call("ADD"));
        must_work(call(with(conf, "prevResult", result), host_call("CHECK")));
        must_work(call(conf, host_call("DEL")));
        CHECK(difference(before, snapshot()) == "");
      });
}
