// DEL, CHECK, GC, STATUS and repeated ADD of slicer-tap behind another plugin's interface.
#include <doctest/doctest.h>

#include "tests/system/tap/tap_support.h"

using namespace slicer::test;
using namespace slicer::test::tap;

namespace {

/// The named part of "lock", "tap", … of a message.
bool says(const Answer& answer, const std::string& word) { return answer.msg().find(word) != std::string::npos; }

}  // namespace

TEST_CASE("tap: DEL leaves the container as it was, twice, and without prevResult") {
  const Host host;
  const Container container;
  const SnapshotOptions seen{.netns = {container.box.path()}};
  const std::string before = snapshot(seen);
  for (const std::string way : {"plain", "with the last result", "without prevResult", "broken key", "tap gone"}) {
    CAPTURE(way);
    const Json result = container.add(container.conf());
    Json conf = container.conf();
    if (way == "with the last result") conf["prevResult"] = result;
    if (way == "without prevResult") conf.erase("prevResult");
    if (way == "broken key") conf["mtu"] = "big";
    if (way == "tap gone") (void)must("ip link del tap0", container.box.path());
    for (int i = 0; i < 2; ++i) {
      const Answer answer = call(conf, container.call("DEL"));
      INFO(answer.text());
      CHECK(answer.ok());
      CHECK(difference(before, snapshot(seen)) == "");
    }
  }
}

TEST_CASE("tap: DEL succeeds where the namespace is gone, is none, or is not told") {
  const Host host;
  const Container container;
  (void)container.add(container.conf());
  const std::string before = snapshot();
  (void)must("touch /run/netns/left-over");
  for (const std::string& path :
       {std::string("/run/netns/no-such"), std::string("/run/netns/left-over"), std::string()}) {
    CAPTURE(path);
    Call del = container.call("DEL");
    del.netns = path;
    const Answer answer = call(container.conf(), del);
    INFO(answer.text());
    CHECK(answer.ok());
  }
  (void)must("rm /run/netns/left-over");
  CHECK(difference(before, snapshot()) == "");
}

TEST_CASE("tap: a second ADD gives the same result and changes nothing") {
  const Host host;
  const Container container;
  const Json first = container.add(container.conf());
  const SnapshotOptions seen{.netns = {container.box.path()}};
  const std::string before = snapshot(seen);
  CHECK(container.add(container.conf()) == first);
  CHECK(container.add(with(tap_conf(), "prevResult", first)) == first);
  CHECK(difference(before, snapshot(seen)) == "");
  // What was lost meanwhile is there again.
  (void)must("tc qdisc del dev eth0 clsact", container.box.path());
  (void)must("ip link set tap0 mtu 1400 down", container.box.path());
  CHECK_FALSE(call(with(tap_conf(), "prevResult", first), container.call("CHECK")).ok());
  CHECK(container.add(container.conf()) == first);
  CHECK(call(with(tap_conf(), "prevResult", first), container.call("CHECK")).ok());
}

TEST_CASE("tap: a second ADD that asks for something else is refused, and costs nothing") {
  const Host host;
  const Container container;
  (void)container.add(container.conf(), "TC_REDIRECT_TAP_NAME=vm0;TC_REDIRECT_TAP_UID=40001");
  const SnapshotOptions seen{.netns = {container.box.path()}};
  const std::string before = snapshot(seen);
  struct Other {
    std::string args;
    Json conf;
    const char* word;
  };
  const Other others[] = {{"TC_REDIRECT_TAP_NAME=vm1;TC_REDIRECT_TAP_UID=40001", container.conf(), "'vm1'"},
                          {"TC_REDIRECT_TAP_UID=40003", container.conf(), "owner"},
                          {"TC_REDIRECT_TAP_UID=40001;TC_REDIRECT_TAP_GID=7", container.conf(), "group"},
                          {"TC_REDIRECT_TAP_UID=40001", with(container.conf(), "multiQueue", true), "one queue"}};
  for (const Other& other : others) {
    CAPTURE(other.args);
    const Answer answer = call(other.conf, container.call("ADD", other.args));
    INFO(answer.text());
    CHECK(answer.code() == 103);
    CHECK(says(answer, other.word));
    CHECK(difference(before, snapshot(seen)) == "");
  }
}

TEST_CASE("tap: CHECK names every difference") {
  const Host host;
  const Container container;
  const std::string box = container.box.path();
  const auto mac_of = [&](const Json& result) { return std::string(guest_entry(result, "vm-1")["mac"]); };
  struct Damage {
    const char* what;
    std::string command;
    const char* word;
  };
  const Damage damages[] = {
      {"tap", "ip link del tap0", "TAP 'tap0'"},
      {"tap down", "ip link set tap0 down", "TAP 'tap0' in '/run/netns/vm-1-box': it is down"},
      {"tap mtu", "ip link set tap0 mtu 1400", "its MTU is 1400 instead of 1500"},
      {"eth0 mtu", "ip link set eth0 mtu 1300", "its MTU is 1500 instead of 1300"},
      {"alias", "ip link set tap0 alias mine", "it is somebody else's"},
      {"renamed", "ip link set tap0 name tap9", "TAP 'tap0' in '/run/netns/vm-1-box': no such link"},
      {"redirect in", "tc qdisc del dev eth0 clsact", "redirect of 'eth0' to 'tap0': no such filter"},
      {"redirect out", "tc qdisc del dev tap0 clsact", "redirect of 'tap0' to 'eth0': no such filter"},
      {"mac", "ip link set eth0 address 02:00:5e:00:53:77", "its MAC is 02:00:5e:00:53:77 and the guest's"},
      {"eth0 down", "ip link set eth0 down", "interface 'eth0' in '/run/netns/vm-1-box': it is down"}};
  for (const Damage& damage : damages) {
    CAPTURE(damage.what);
    const Json result = container.add(container.conf());
    const Json conf = with(tap_conf(), "prevResult", result);
    const Answer whole = call(conf, container.call("CHECK"));
    INFO(whole.text());
    REQUIRE(whole.ok());
    (void)must(damage.command, box);
    const Answer broken = call(conf, container.call("CHECK"));
    INFO(broken.text());
    CHECK(broken.code() == 105);
    CHECK(says(broken, damage.word));
    (void)run(words("ip link set tap9 name tap0"), {.netns = box});
    (void)run(words("ip link set tap0 alias slicer:demo/vm-1/eth0"), {.netns = box});
    must_del(kPlugin, container.conf(), container.call("DEL"));
    (void)must("ip link set eth0 up mtu 1500 address " + mac_of(result), box);
  }
}

TEST_CASE("tap: CHECK sees a redirect that leads elsewhere, or nowhere") {
  const Host host;
  const Container container;
  const std::string box = container.box.path();
  const Json result = container.add(container.conf());
  const Json conf = with(tap_conf(), "prevResult", result);
  (void)must("ip tuntap add tap1 mode tap", box);
  const Outcome replaced = run({"tc",      "filter",   "replace", "dev",      "eth0",
                                "ingress", "protocol", "all",     "prio",     "2",
                                "handle",  "1",        "bpf",     "bytecode", "1,6 0 0 4294967295,",
                                "action",  "mirred",   "egress",  "redirect", "dev",
                                "tap1"},
                               {.netns = box});
  INFO(replaced.err);
  REQUIRE(replaced.ok());
  const Answer elsewhere = call(conf, container.call("CHECK"));
  INFO(elsewhere.text());
  CHECK(says(elsewhere, "redirect of 'eth0' to 'tap0': it leads to link"));
  const Answer again = call(container.conf(), container.call("ADD"));
  INFO(again.text());
  CHECK(again.code() == 102);
  CHECK(says(again, "it is redirected to 'tap1'"));
  (void)must("ip link del tap1", box);
  const Answer nowhere = call(conf, container.call("CHECK"));
  INFO(nowhere.text());
  CHECK(says(nowhere, "it leads to a link that is gone"));
  CHECK(container.add(container.conf()) == result);
}

TEST_CASE("tap: CHECK without a result, or with one that has no TAP, says so") {
  const Host host;
  const Container container;
  (void)container.add(container.conf());
  const Answer without = call(tap_conf(), container.call("CHECK"));
  CHECK(without.code() == 7);
  CHECK(says(without, "\"prevResult\""));
  const Answer other = call(container.conf(), container.call("CHECK"));
  INFO(other.text());
  CHECK(other.code() == 105);
  CHECK(says(other, "no TAP for 'vm-1'"));
}

TEST_CASE("tap: GC removes TAPs of its own network that nobody knows, and their redirects") {
  const Host host;
  const Container kept("keep");
  const Container stale("stale");
  Container other("other");
  const SnapshotOptions all{.netns = {kept.box.path(), stale.box.path(), other.box.path()}};
  (void)kept.add(kept.conf());
  (void)other.add(with(other.conf(), "name", "elsewhere"));
  const std::string before = snapshot(all);
  (void)stale.add(stale.conf());
  const Answer no_list = call(tap_conf(), {.command = "GC"});
  CHECK(no_list.ok());
  CHECK(must("ip link show tap0", stale.box.path()) != "");
  const Json valid = {{{"containerID", "keep"}, {"ifname", "eth0"}}};
  const Answer collected = call(with(tap_conf(), "/cni.dev~1valid-attachments", valid), {.command = "GC"});
  INFO(collected.text());
  CHECK(collected.ok());
  CHECK(difference(before, snapshot(all)) == "");
}

TEST_CASE("tap: STATUS says whether TAPs can be made") {
  const Host host;
  CHECK(call(tap_conf(), {.command = "STATUS"}).ok());
  (void)must("mount -t tmpfs none /dev/net");  // where the module is not loaded, nor its node made
  const Answer closed = call(tap_conf(), {.command = "STATUS"});
  (void)must("umount /dev/net");
  INFO(closed.text());
  CHECK(closed.code() == 50);
  CHECK(says(closed, "/dev/net/tun"));
}
