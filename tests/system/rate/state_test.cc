// What "bandwidth" makes, how CHECK, DEL and GC see it, and which values are none.
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/system/rate/rate_support.h"
#include "tests/system/runner/upstream.h"

using namespace slicer::test;
using namespace slicer::test::rate;

namespace {

constexpr Limits kBoth{
    .ingress_rate = 1'000'000, .ingress_burst = 20'000, .egress_rate = 2'000'000, .egress_burst = 30'000};

/// Words of `tc qdisc show` for one of a mode's links.
std::string qdisc_of(const Attachment& attachment, const std::string& where) {
  return must("tc qdisc show dev " + attachment.link_of(where) + " root", attachment.netns());
}

void check_refused(const Answer& answer, int code, const std::string& words_of_it) {
  INFO(answer.text());
  CHECK(answer.code() == code);
  CHECK(answer.msg().find(words_of_it) != std::string::npos);
}

struct BadValue {
  Json bandwidth;
  int code;
  std::string message;
};
const std::vector<BadValue> kBad = {
    {{{"ingressRate", 8000}}, 7, "\"ingressRate\": 8000 without \"ingressBurst\""},
    {{{"egressBurst", 8000}}, 7, "\"egressBurst\": 8000 without \"egressRate\""},
    {{{"egressRate", 0}, {"egressBurst", 8}}, 7, "\"egressBurst\": 8 without \"egressRate\""},
    {{{"ingressRate", -1}, {"ingressBurst", 8000}}, 7, "\"ingressRate\": -1 is out of range"},
    {{{"ingressRate", 8000}, {"ingressBurst", -8}}, 7, "\"ingressBurst\": -8 is out of range"},
    {{{"ingressRate", UINT64_MAX}, {"ingressBurst", 8000}}, 7, "\"ingressRate\": 18446744073709551615 is out of range"},
    {{{"egressRate", 8000}, {"egressBurst", 34359738360}}, 7, "allowed: 0-34359738359"},
    {{{"egressRate", "1M"}, {"egressBurst", 8000}}, 7, "\"egressRate\": expected an integer, got \"1M\""},
    {{{"egressRate", 1.5}, {"egressBurst", 8000}}, 7, "\"egressRate\": expected an integer"},
    {{{"shapedSubnets", {"192.0.2.0/24"}}}, 2, "\"shapedSubnets\""},
};

}  // namespace

TEST_CASE("rate: each direction has its bucket where the network lets it wait, and CHECK misses each part") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  for (const Mode& mode : modes()) {
    CAPTURE(mode.name);
    const Host host;
    const Surroundings around;
    const Json conf = limited(mode.conf, kBoth);
    std::vector<std::string> damage;
    {
      const Attachment vm(mode, conf, "vm");
      CHECK(qdisc_of(vm, mode.to_guest).find("rate 8Mbit burst 20000b") != std::string::npos);
      CHECK(qdisc_of(vm, mode.from_guest).find("rate 16Mbit burst 30000b") != std::string::npos);
      const Answer checked = vm.check(conf);
      INFO(checked.text());
      CHECK(checked.ok());
      check_refused(vm.check(limited(mode.conf, {.ingress_rate = 1'000'001, .ingress_burst = 20'000})), 105,
                    "\"ingressRate\"");
      check_refused(vm.check(limited(mode.conf, {.ingress_rate = 1'000'000, .ingress_burst = 20'100})), 105,
                    "\"ingressRate\"");
      check_refused(vm.check(limited(mode.conf, {.egress_rate = 1'900'000, .egress_burst = 30'000})), 105,
                    "\"egressRate\"");
      for (const std::string& where : {mode.to_guest, mode.from_guest}) {
        damage.push_back("tc qdisc del dev " + vm.link_of(where) + " root");
        damage.push_back("tc qdisc replace dev " + vm.link_of(where) + " root pfifo");
        if (where != "ifb") continue;
        damage.push_back("ip link set " + vm.link_of(where) + " down");
        damage.push_back("ip link del " + vm.link_of(where));
        damage.push_back("tc filter del dev " + vm.how.ifname + " ingress pref 3");
      }
      CHECK(vm.call("DEL", conf).ok());
    }
    for (const std::string& line : damage) {
      CAPTURE(line);
      const Attachment vm(mode, conf, "vm");
      (void)must(line, vm.netns());
      const Answer checked = vm.check(conf);
      INFO(checked.text());
      CHECK(checked.msg().find("gressRate\" of 'tvm': absent or changed") != std::string::npos);
      CHECK(vm.call("DEL", conf).ok());
    }
  }
}

TEST_CASE("rate: without limits nothing is made for them, and a rate of 0 is no limit") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  const Json none = {{"bandwidth", {{"ingressRate", 0}, {"ingressBurst", 0}, {"egressRate", 0}, {"egressBurst", 0}}}};
  for (const Mode& mode : modes()) {
    CAPTURE(mode.name);
    const Host host;
    const Surroundings around;
    for (const Json& conf : {mode.conf, with(mode.conf, "runtimeConfig", none)}) {
      const Attachment vm(mode, conf, "vm");
      CHECK(must("tc qdisc show", vm.netns()).find("tbf") == std::string::npos);
      CHECK(must("ip -o link show type ifb", vm.netns()) == "");
      CHECK(vm.check(conf).ok());
      CHECK(vm.call("DEL", conf).ok());
    }
  }
}

TEST_CASE("rate: DEL leaves nothing of it, twice, and without what the call had asked for") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  for (const Mode& mode : modes()) {
    CAPTURE(mode.name);
    const Host host;
    const Surroundings around;
    const Json conf = limited(mode.conf, kBoth);
    const auto once = [&](const Json& at_end) {
      const Attachment vm(mode, conf, "vm");
      CHECK(vm.call("DEL", at_end).ok());
      CHECK(vm.call("DEL", at_end).ok());
      for (const std::string& netns : {std::string(Host::netns()), vm.netns()})
        CHECK(must("ip -o link show type ifb", netns) == "");
      return snapshot({.netns = {vm.netns()}});
    };
    const std::string before = once(conf);
    CHECK(before.find("tbf") == std::string::npos);
    CHECK(difference(before, once(mode.conf)) == "");
    CHECK(difference(before, once(with(mode.conf, "ingressRate", "a word"))) == "");
  }
}

TEST_CASE("rate: GC takes the limits of who is gone and leaves those of who is there") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  for (const Mode& mode : modes()) {
    CAPTURE(mode.name);
    const Host host;
    const Surroundings around;
    const Json conf = limited(mode.conf, kBoth);
    const Attachment stays(mode, conf, "stays");
    const Attachment goes(mode, conf, "goes");
    // What a process leaves that was killed before the alias was written.
    const std::string ifb = goes.link_of("ifb");
    if (!ifb.empty()) (void)run({"ip", "link", "set", ifb, "alias", ""}, {.netns = goes.netns()});
    const Json known = Json::array({{{"containerID", "stays"}, {"ifname", stays.how.ifname}}});
    Json gc = with(mode.conf, "/cni.dev~1valid-attachments", known);
    CHECK(stays.call("GC", gc).ok());
    CHECK(stays.check(conf).ok());
    if (!ifb.empty()) CHECK(must("ip -o link show type ifb", goes.netns()).find(ifb) == std::string::npos);
    if (!mode.in_host) CHECK(must("tc qdisc show", goes.netns()).find("tbf") == std::string::npos);
  }
}

TEST_CASE("rate: the configuration's own keys are the network's limit, whatever the call asks for") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  const Host host;
  const Surroundings around;
  const Mode mode = modes().front();
  Json conf = limited(mode.conf, kBoth);
  conf["ingressRate"] = 80'000;
  conf["ingressBurst"] = 160'000;
  const Attachment vm(mode, conf, "vm");
  CHECK(qdisc_of(vm, "tap").find("rate 80Kbit burst 20000b") != std::string::npos);
  CHECK(must("ip -o link show type ifb") == "");
}

TEST_CASE("rate: a second ADD with other limits is refused and changes nothing") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  for (const Mode& mode : modes()) {
    CAPTURE(mode.name);
    const Host host;
    const Surroundings around;
    const Json conf = limited(mode.conf, kBoth);
    const Attachment vm(mode, conf, "vm");
    CHECK_FALSE(vm.call("ADD", limited(mode.conf, {.egress_rate = 5000, .egress_burst = 5000})).ok());
    CHECK(vm.check(conf).ok());
  }
}

TEST_CASE("rate: extreme rates are kept as they are") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  const Host host;
  const Surroundings around;
  for (const Mode& mode : modes()) {
    if (mode.name != "bridge, private" && mode.name != "macvtap") continue;
    CAPTURE(mode.name);
    const auto stands = [&](Json bandwidth) {
      const Json conf = with(mode.conf, "runtimeConfig", {{"bandwidth", std::move(bandwidth)}});
      const Attachment vm(mode, conf, "vm");
      const Answer checked = vm.check(conf);
      INFO(checked.text());
      CHECK(checked.ok());
      INFO(must("tc qdisc show", vm.netns()));
      const std::string shown = must("tc qdisc show", vm.netns());
      CHECK(vm.call("DEL", conf).ok());
      return shown;
    };
    // A bit a second is a byte; a burst of a bit is a frame.
    CHECK(stands({{"ingressRate", 1}, {"ingressBurst", 1}}).find("rate 8bit") != std::string::npos);
    CHECK(stands({{"ingressRate", 8000}, {"ingressBurst", 1}}).find("rate 8Kbit burst 1518b") != std::string::npos);
    // More than 32 bits of bytes a second; the burst that Kubernetes sends.
    CHECK(stands({{"egressRate", 100'000'000'000}, {"egressBurst", INT32_MAX}}).find("rate 100Gbit") !=
          std::string::npos);
    CHECK(stands({{"egressRate", 8'000'000'000'000'000'000}, {"egressBurst", 34359738359}}).find("tbf") !=
          std::string::npos);
  }
}

TEST_CASE("rate: a wrong value is refused by name before anything is made") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  const std::string before = snapshot({.netns = {box.path()}});
  for (const Mode& mode : modes()) {
    const Call how{.netns = mode.in_host ? Host::netns() : box.path(), .ifname = "tvm"};
    for (const BadValue& bad : kBad) {
      CAPTURE(mode.name);
      CAPTURE(bad.message);
      check_refused(call_plugin(mode.plugin, with(mode.conf, "runtimeConfig", {{"bandwidth", bad.bandwidth}}), how),
                    bad.code, bad.message);
      Json own = mode.conf;
      own.update(bad.bandwidth);
      check_refused(call_plugin(mode.plugin, own, how), bad.code, bad.message);
    }
    check_refused(call_plugin(mode.plugin, with(mode.conf, "runtimeConfig", {{"bandwidth", 5}}), how), 7,
                  "\"runtimeConfig\": \"bandwidth\": expected an object");
  }
  CHECK(difference(before, snapshot({.netns = {box.path()}})) == "");
}

TEST_CASE(
    "rate: slicer-tap limits the interface that it follows, a second ADD changes that, and DEL leaves it as it was") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  const Host host;
  const Netns box("box");
  Json main = modes().front().conf;
  main["device"] = "veth";
  const Call how{.netns = box.path(), .ifname = "eth0"};
  const Answer first = call_plugin("slicer-bridge", main, how);
  REQUIRE(first.ok());
  const std::string before = snapshot({.netns = {box.path()}});
  const Json plain = {{"cniVersion", "1.1.0"}, {"name", "demo"}, {"type", "slicer-tap"}, {"prevResult", first.json}};
  const auto call = [&](const std::string& command, const Json& conf) {
    Call again = how;
    again.command = command;
    Answer answer = call_plugin("slicer-tap", conf, again);
    INFO(answer.text());
    CHECK(answer.ok());
    return std::move(answer.json);
  };
  const auto shown = [&] { return must("tc qdisc show", box.path()); };
  const Json result = call("ADD", limited(plain, kBoth));
  CHECK(shown().find("dev tap0 root refcnt 2 rate 8Mbit") != std::string::npos);
  CHECK(shown().find("dev eth0 root") != std::string::npos);
  CHECK(shown().find("rate 16Mbit") != std::string::npos);
  (void)call("CHECK", with(limited(plain, kBoth), "prevResult", result));
  const Limits other{.ingress_rate = 3'000'000, .ingress_burst = 20'000};
  (void)call("ADD", limited(plain, other));
  CHECK(shown().find("dev tap0 root refcnt 2 rate 24Mbit") != std::string::npos);
  CHECK(shown().find("rate 16Mbit") == std::string::npos);
  (void)call("CHECK", with(limited(plain, other), "prevResult", result));
  (void)call("ADD", limited(plain, kBoth));
  (void)must("tc qdisc del dev eth0 root", box.path());
  Call check = how;
  check.command = "CHECK";
  check_refused(call_plugin("slicer-tap", with(limited(plain, kBoth), "prevResult", result), check), 105,
                "\"egressRate\" of 'eth0': absent or changed");
  (void)call("ADD", limited(plain, kBoth));
  (void)call("DEL", limited(plain, kBoth));
  CHECK(difference(before, snapshot({.netns = {box.path()}})) == "");
  // First in its chain it has no other end.
  Json alone = limited(plain, kBoth);
  alone.erase("prevResult");
  const Call tap{.netns = box.path(), .ifname = "tap7"};
  check_refused(call_plugin("slicer-tap", alone, tap), 2, "\"bandwidth\" is for a TAP behind");
}

TEST_CASE("rate: a container's interface is limited like a VM's, and upstream's plugin is refused behind that") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  const Host host;
  const Netns box("box");
  Json conf = modes().front().conf;
  conf["device"] = "veth";
  const Call how{.netns = box.path(), .ifname = "eth0"};
  const Answer both = call_plugin("slicer-bridge", limited(conf, kBoth), how);
  INFO(both.text());
  REQUIRE(both.ok());
  CHECK(must("tc qdisc show").find("rate 8Mbit") != std::string::npos);
  CHECK(must("tc qdisc show").find("rate 16Mbit") != std::string::npos);
  Call again = how;
  again.command = "CHECK";
  CHECK(call_plugin("slicer-bridge", with(limited(conf, kBoth), "prevResult", both.json), again).ok());
  again.command = "DEL";
  if (const std::string upstream = upstream_dir(); !upstream.empty()) {
    const Json second = with(with(limited(conf, kBoth), "prevResult", both.json), "type", "bandwidth");
    const Outcome refused = run({upstream + "/bandwidth"}, {.in = second.dump(), .env = cni_environment(how)});
    CHECK_FALSE(refused.ok());
    CHECK(refused.out.find("exists") != std::string::npos);
    CHECK(call_plugin("slicer-bridge", limited(conf, kBoth), again).ok());
    // By itself it does what it did.
    const Answer plain = call_plugin("slicer-bridge", conf, how);
    REQUIRE(plain.ok());
    const Json only = with(with(limited(conf, kBoth), "prevResult", plain.json), "type", "bandwidth");
    const Outcome limits = run({upstream + "/bandwidth"}, {.in = only.dump(), .env = cni_environment(how)});
    INFO(limits.out);
    CHECK(limits.ok());
  }
  CHECK(call_plugin("slicer-bridge", conf, again).ok());
  CHECK(must("ip -o link show type veth") == "");
}
