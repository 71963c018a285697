// CHECK, GC, STATUS, ownership and bad input.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <memory>

#include "tests/system/macvtap/macvtap_support.h"

using namespace slicer::test;
using namespace slicer::test::macvtap;

namespace {

bool has_tap(const Netns& box, const std::string& name = "tap0") {
  return run(words("ip link show " + name), {.netns = box.path()}).ok();
}

}  // namespace

TEST_CASE("macvtap CHECK: right after ADD all is well, and every change is found") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  const Json conf = with(quick_conf(), "mtu", 1400);
  const Json asked = with(conf, "prevResult", add(conf, call_in("ADD", box)));
  const auto check = [&] { return call(asked, call_in("CHECK", box)); };
  REQUIRE(check().ok());
  const auto finds = [&](const std::string& change, const std::string& msg) {
    CAPTURE(change);
    (void)must(change, box.path());
    const Answer answer = check();
    CHECK(answer.code() == 105);
    CHECK(answer.msg() == msg);
  };
  SUBCASE("gone") { finds("ip link del tap0", "check macvtap 'tap0': no such link"); }
  SUBCASE("down") { finds("ip link set tap0 down", "check macvtap 'tap0': it is down"); }
  SUBCASE("MTU") { finds("ip link set tap0 mtu 1300", "check macvtap 'tap0': its MTU is 1300"); }
  SUBCASE("mode") {
    finds("ip link set tap0 type macvtap mode private", "check macvtap 'tap0': its mode has been changed");
  }
  SUBCASE("alias") { finds("ip link set tap0 alias mine", "check macvtap 'tap0': it is somebody else's"); }
  SUBCASE("MAC") {
    (void)must("ip link set tap0 address 02:00:5e:00:53:01", box.path());
    CHECK(check().msg().find("check macvtap 'tap0': its MAC is '02:00:5e:00:53:01' and the guest's '") == 0);
  }
  SUBCASE("guard") {
    finds("tc filter del dev tap0 egress", "check anti-spoofing filter on 'tap0': absent or changed");
  }
  SUBCASE("address") {
    (void)must("rm /var/lib/cni/networks/lan/198.51.100.220");
    CHECK(check().code() == 105);
  }
  SUBCASE("another parent in the configuration") {
    (void)must("ip link add eth9 type bridge");
    const Answer answer = call(with(asked, "parent", "eth9"), call_in("CHECK", box));
    CHECK(answer.msg() == "check macvtap 'tap0': it does not stand on 'eth9'");
  }
}

TEST_CASE("macvtap ownership: a name in use is refused, and DEL leaves a stranger's link alone") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  (void)add(dhcp_conf(), call_in("ADD", box, "vm-1"));
  const Answer answer = call(quick_conf(), call_in("ADD", box, "vm-2"));
  CHECK(answer.code() == 102);
  CHECK(answer.msg() == "create 'tap0' in '/run/netns/box': a link of this name exists");
  del(quick_conf(), call_in("DEL", box, "vm-2"));
  CHECK(has_tap(box));
  del(dhcp_conf("other"), call_in("DEL", box, "vm-1"));
  CHECK(has_tap(box));
  del(dhcp_conf(), call_in("DEL", box, "vm-1"));
  CHECK_FALSE(has_tap(box));
}

TEST_CASE("macvtap DEL: without the namespace, without the device, twice, with a broken configuration") {
  const Host host;
  const Surroundings around;
  Netns box("box");
  const auto addresses = [] { return must("find /var/lib/cni/networks/lan -name 198.51.100.*"); };
  (void)add(quick_conf(), call_in("ADD", box));
  SUBCASE("broken configuration") {
    del(with(with(quick_conf(), "mode", "sideways"), "mtu", "big"), call_in("DEL", box));
    CHECK_FALSE(has_tap(box));
  }
  SUBCASE("no CNI_NETNS: the address goes, the macvtap with its namespace") {
    Call how = call_in("DEL", box);
    how.netns = "";
    del(quick_conf(), how);
    CHECK(has_tap(box));
  }
  SUBCASE("the namespace is gone") {
    box.remove();
    for (int i = 0; i < 2; ++i) del(quick_conf(), call_in("DEL", box));
  }
  CHECK(addresses() == "");
}

TEST_CASE("macvtap GC: what the list lacks goes, of its own network only") {
  const Host host;
  const Surroundings around;
  const Netns stale("stale");
  const Netns valid("valid");
  const Netns other("other");
  (void)add(quick_conf(), call_in("ADD", stale, "vm-1"));
  (void)add(quick_conf(), call_in("ADD", valid, "vm-2"));
  (void)add(quick_conf("lan2"), call_in("ADD", other, "vm-1"));
  CHECK(call(quick_conf(), {.command = "GC"}).ok());  // no list, no information
  CHECK(has_tap(stale));
  const Json list = {{{"containerID", "vm-2"}, {"ifname", "tap0"}}};
  CHECK(call(with(quick_conf(), "/cni.dev~1valid-attachments", list), {.command = "GC"}).ok());
  CHECK_FALSE(has_tap(stale));
  CHECK(has_tap(valid));
  CHECK(has_tap(other));
  CHECK(must("find /var/lib/cni/networks/lan -name 198.51.100.*") == "/var/lib/cni/networks/lan/198.51.100.221\n");
  CHECK(must("find /var/lib/cni/networks/lan2 -name 198.51.100.*") == "/var/lib/cni/networks/lan2/198.51.100.220\n");
}

TEST_CASE("macvtap GC: one without a name, as a killed ADD leaves it, by its group") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  const auto collect = [](const std::string& network, const Json& list) {
    CHECK(call(with(quick_conf(network), "/cni.dev~1valid-attachments", list), {.command = "GC"}).ok());
  };
  const Json valid = {{{"containerID", "vm-1"}, {"ifname", "tap0"}}};
  (void)add(quick_conf(), call_in("ADD", box));
  REQUIRE(run({"ip", "link", "set", "tap0", "alias", ""}, {.netns = box.path()}).ok());
  (void)must("ip link add link lan0 name tap5 netns box type macvtap");  // nobody's
  collect("lan2", Json::array());
  collect("lan", valid);
  CHECK(has_tap(box));
  collect("lan", Json::array());
  CHECK_FALSE(has_tap(box));
  CHECK(has_tap(box, "tap5"));
}

TEST_CASE("macvtap STATUS: the parent must be there and up") {
  const Host host;
  const Surroundings around;
  CHECK(call(static_conf(), {.command = "STATUS"}).ok());
  CHECK(call(dhcp_conf(), {.command = "STATUS"}).ok());
  Json too_large = dhcp_conf();
  too_large["mtu"] = 65000;
  CHECK(call(too_large, {.command = "STATUS"}).code() == 50);
  (void)must("ip link set lan0 down");
  const Answer answer = call(dhcp_conf(), {.command = "STATUS"});
  CHECK(answer.code() == 51);
  CHECK(answer.msg() == "use 'lan0' as \"parent\": it is down");
  (void)must("ip link del lan0");
  CHECK(call(dhcp_conf(), {.command = "STATUS"}).code() == 51);
}

TEST_CASE("macvtap: the host's own namespace is refused, with and without the override") {
  const Host host;
  const Surroundings around;
  Call how{.netns = Host::netns(), .ifname = "tap0"};
  CHECK(call(dhcp_conf(), how).code() == 8);
  how.extra["CNI_NETNS_OVERRIDE"] = "1";
  CHECK(call(dhcp_conf(), how).code() == 8);
}

TEST_CASE("macvtap: impossible values name the key, the value and what is allowed") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  const auto refused = [&](const char* key, const Json& value, const std::string& msg) {
    const Answer answer = call(with(dhcp_conf(), key, value), call_in("ADD", box));
    CHECK(answer.code() == 7);
    CHECK(answer.msg() == msg);
    CHECK_FALSE(has_tap(box));
  };
  refused("mtu", 1501, "\"mtu\": 1501 is above the 1500 of parent 'lan0'");
  refused("mtu", 67, "\"mtu\": 67 is neither 0 nor in 68-65535");
  refused("mode", "source", "\"mode\": 'source' is none of 'bridge', 'vepa', 'private' and 'passthru'");
  refused("parent", "no/name",
          "\"parent\": 'no/name' cannot name a link: 1 to 15 bytes without '/', ':' and white space");
  refused("probe", "no", "\"probe\": expected true or false, got \"no\"");
  refused("mac", "01:00:5e:00:53:01", "\"mac\": MAC address '01:00:5e:00:53:01' is a group address");
  refused("ipspoofchk", 1, "\"ipspoofchk\": expected true or false, got 1");
}

TEST_CASE("macvtap ADD: waits for the MAC that a dying namespace still holds") {
  const Host host;
  const Surroundings around;
  const Netns again("again");
  auto gone = std::make_unique<Netns>("gone");
  (void)add(dhcp_conf(), call_in("ADD", *gone));
  std::unique_ptr<Background> last;  // of its processes
  in_netns(gone->path(), [&] { last = std::make_unique<Background>([] { (void)pause(); }); });
  Call how = call_in("DEL", *gone);
  gone.reset();
  how.netns = "";
  del(dhcp_conf(), how);
  const Background adding([&] {
    const Answer answer = call(dhcp_conf(), call_in("ADD", again));
    std::ofstream("/run/answer.new") << answer.code() << " " << answer.text() << "\n";
    (void)rename("/run/answer.new", "/run/answer");
  });
  REQUIRE(eventually([&] { return has_tap(again); }));
  last.reset();
  REQUIRE(eventually([] { return access("/run/answer", F_OK) == 0; }));
  CHECK(must("cat /run/answer").starts_with("0 "));
}

TEST_CASE("macvtap: one MAC twice on a parent is an error that says so") {
  const Host host;
  const Surroundings around;
  const Netns one("one");
  const Netns two("two");
  const Json conf = with(dhcp_conf(), "mac", "02:00:5e:00:53:01");
  CHECK(guest_entry(add(conf, call_in("ADD", one, "vm-1")), "vm-1")["mac"] == "02:00:5e:00:53:01");
  const Answer answer = call(conf, call_in("ADD", two, "vm-2"));
  CHECK(answer.code() == 102);
  CHECK(answer.json["details"] == "another link of the same parent has the guest's MAC: ask for another one");
  CHECK_FALSE(has_tap(two));
}

TEST_CASE("macvtap: the MAC is the VM's own, whenever and wherever it is added") {
  const Host host;
  const Surroundings around;
  const Netns one("one");
  const Netns two("two");
  const auto mac = [&](const Netns& box, const std::string& id) {
    const std::string given = guest_entry(add(dhcp_conf(), call_in("ADD", box, id)), id)["mac"];
    del(dhcp_conf(), call_in("DEL", box, id));
    return given;
  };
  const std::string first = mac(one, "vm-1");
  CHECK(mac(two, "vm-1") == first);
  CHECK(mac(one, "vm-2") != first);
}
