// slicer-tap killed at every system call: the next DEL or GC leaves nothing of the attachment.
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/system/fixture/kill_at_syscall.h"
#include "tests/system/tap/tap_support.h"

using namespace slicer::test;
using namespace slicer::test::tap;

namespace {

struct Sweep {
  Json conf = {};
  Call call = {};
  std::function<void()> before = [] {};
  std::function<void()> clean_up = {};
  SnapshotOptions seen = {};
  long step = 1;
};

/// Kills the call everywhere; after each clean-up the state must be the one from before.
void sweep(const Sweep& what) {
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

Json guarded_conf(const Container& container) { return with(container.conf(), "macspoofchk", true); }

void collect() {
  const Answer answer = call(with(tap_conf(), "/cni.dev~1valid-attachments", Json::array()), {.command = "GC"});
  INFO(answer.text());
  REQUIRE(answer.ok());
}

}  // namespace

TEST_CASE("tap kill: ADD, then DEL") {
  const Host host;
  const Container container;
  sweep({.conf = guarded_conf(container),
         .call = container.call("ADD"),
         .clean_up = [&] { must_del(kPlugin, tap_conf(), container.call("DEL")); },
         .seen = {.netns = {container.box.path()}}});
}

TEST_CASE("tap kill: DEL, then DEL") {
  const Host host;
  const Container container;
  sweep({.conf = guarded_conf(container),
         .call = container.call("DEL"),
         .before = [&] { (void)container.add(guarded_conf(container)); },
         .clean_up = [&] { must_del(kPlugin, tap_conf(), container.call("DEL")); },
         .seen = {.netns = {container.box.path()}}});
}

TEST_CASE("tap kill: ADD, then ADD, which gives what it always gives, then GC") {
  const Host host;
  const Container container;
  const Json result = container.add(guarded_conf(container));
  collect();
  sweep({.conf = guarded_conf(container),
         .call = container.call("ADD"),
         .clean_up =
             [&] {
               CHECK(container.add(guarded_conf(container)) == result);
               collect();
             },
         .seen = {.netns = {container.box.path()}},
         .step = 2});
}

TEST_CASE("tap kill: ADD or DEL, then GC") {
  const Host host;
  const Container container;
  const SnapshotOptions seen{.netns = {container.box.path()}};
  sweep({.conf = guarded_conf(container), .call = container.call("ADD"), .clean_up = collect, .seen = seen, .step = 2});
  sweep({.conf = guarded_conf(container),
         .call = container.call("DEL"),
         .before = [&] { (void)container.add(guarded_conf(container)); },
         .clean_up = collect,
         .seen = seen,
         .step = 2});
}

TEST_CASE("tap kill: a plain TAP with addresses: ADD or DEL, then DEL or GC") {
  const Host host;
  const Netns box("box");
  const Json conf =
      with(with(tap_conf("plain"), "ipam", {{"type", "slicer-ipam"}, {"subnet", "192.0.2.0/24"}}), "macspoofchk", true);
  const SnapshotOptions seen{.netns = {box.path()}};
  (void)must_add(kPlugin, conf, call_in("ADD", box));
  must_del(kPlugin, conf, call_in("DEL", box));
  const auto add = [&] { (void)must_add(kPlugin, conf, call_in("ADD", box)); };
  const auto del = [&] { must_del(kPlugin, conf, call_in("DEL", box)); };
  const auto gc = [&] {
    REQUIRE(call(with(conf, "/cni.dev~1valid-attachments", Json::array()), {.command = "GC"}).ok());
  };
  // Where the search for a free address begins is a cache of the pool's, and no object of the attachment.
  const auto left = [&] {
    return must("ip -br link show type tun", box.path()) + must("find /var/lib/cni/networks/plain -name 192.0.2.*");
  };
  for (const auto& clean_up : {std::function<void()>(del), std::function<void()>(gc)}) {
    for (const bool adding : {true, false}) {
      CAPTURE(adding);
      (void)kill_at_every_syscall(
          {.plugin = kPlugin, .conf = conf, .call = call_in(adding ? "ADD" : "DEL", box), .step = 2},
          adding ? std::function<void()>([] {}) : std::function<void()>(add), [&](const KillOutcome& outcome) {
            INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
            clean_up();
            CHECK(left() == "");
          });
    }
  }
}
