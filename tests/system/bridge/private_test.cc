// slicer-bridge with the TAP in a private namespace, behind a veth pair and tc.
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/system/bridge/bridge_support.h"

using namespace slicer::test;
using namespace slicer::test::bridge;

TEST_CASE("bridge private: ADD makes a TAP in the namespace and says so by the contract") {
  const Host host;
  const Netns box("box");
  const Json result = add(dual_conf(), private_call("ADD", box));
  INFO("result: ", result.dump(1));
  REQUIRE(result["interfaces"].size() == 4);
  CHECK(result["interfaces"][0]["name"] == "slicer0");
  const std::string veth = result["interfaces"][1]["name"];
  CHECK(veth.starts_with("slv"));
  CHECK((!result["interfaces"][1].contains("sandbox") || result["interfaces"][1]["sandbox"] == ""));
  CHECK(result["interfaces"][2]["name"] == "tap0");
  CHECK(result["interfaces"][2]["sandbox"] == box.path());
  CHECK(result["interfaces"][3]["name"] == "tap0");
  CHECK(result["interfaces"][3]["sandbox"] == "vm-1");
  CHECK(result["interfaces"][3]["mac"] != result["interfaces"][2]["mac"]);
  for (const Json& ip : result["ips"]) CHECK(ip["interface"] == 3);
  CHECK(must("ip link show dev " + veth).find("master slicer0") != std::string::npos);
  CHECK(must("ip link show dev " + veth).find("slicer:demo/vm-1/tap0") != std::string::npos);
  const std::string tap = must("ip -d link show dev tap0", box.path());
  CHECK(tap.find("persist on") != std::string::npos);
  CHECK(tap.find("group default") == std::string::npos);
  const Answer checked = call(with(dual_conf(), "prevResult", result), private_call("CHECK", box));
  INFO(checked.text());
  CHECK(checked.ok());
}

TEST_CASE("bridge private: the guest reaches all, and is reached, as in the host's placement") {
  const Host host;
  const Surroundings around;
  around.route_to_vms("192.0.2.0/24");
  around.route_to_vms("2001:db8:1::/64");
  const Netns box("box");
  const Json first = add(dual_conf(), private_call("ADD", box));
  const Json second = add(dual_conf(), host_call("ADD", "vm-2", "vmtap1"));
  const Guest one(Guest::from_result(first, private_call("ADD", box), "guest-1"));
  const Guest two(Guest::from_result(second, host_call("ADD", "vm-2", "vmtap1"), "guest-2"));
  for (const char* through_netfilter : {"0", "1"}) {
    CAPTURE(through_netfilter);
    Host::sysctl("net/bridge/bridge-nf-call-iptables", through_netfilter);
    Host::sysctl("net/bridge/bridge-nf-call-ip6tables", through_netfilter);
    CHECK(pings(Host::netns(), ip_of(first, 4)));
    CHECK(pings(one.netns(), "192.0.2.1"));
    CHECK(pings(one.netns(), ip_of(second, 4)));
    CHECK(pings(two.netns(), ip_of(first, 4)));
    CHECK(pings(one.netns(), Surroundings::kInternet));
    CHECK(pings(around.machine.path(), ip_of(first, 4)));
    CHECK(pings(Host::netns(), ip_of(first, 6)));
    CHECK(pings(one.netns(), ip_of(second, 6)));
    CHECK(pings(one.netns(), Surroundings::kInternet6));
    CHECK(pings(around.machine.path(), ip_of(first, 6)));
  }
}

TEST_CASE("bridge private: the very first packet gets through") {
  const Host host;
  const Netns box("box");
  const Json result = add(demo_conf(), private_call("ADD", box));
  const RawGuest guest({.tap = "tap0", .netns = box.path()});
  const Background ping({"ping", "-c", "1", "-W", "1", ip_of(result, 4)}, Host::netns());
  const auto frame = guest.receive(is_arp_or_echo, std::chrono::seconds(5));
  REQUIRE(frame.has_value());
  CHECK((*frame)[13] == 0);
}

TEST_CASE("bridge private: DEL leaves nothing, also without namespace or prevResult, and after the namespace is gone") {
  const Host host;
  const Json conf = dual_conf();
  Netns settled("settled");
  const std::string before = settled_snapshot(conf, private_call("ADD", settled));
  for (const std::string way : {"plain", "twice", "without CNI_NETNS", "namespace unreachable", "namespace gone"}) {
    CAPTURE(way);
    Netns box("box");
    const SnapshotOptions with_box{.netns = {box.path()}};
    const std::string box_before = snapshot(with_box);
    const Json result = add(conf, private_call("ADD", box));
    Call del = private_call("DEL", box);
    if (way == "without CNI_NETNS") del.netns = "";
    if (way == "namespace unreachable") del.netns = "/run/netns/no-such";
    if (way == "namespace gone") box.remove();
    const Answer answer = call(conf, del);
    INFO(answer.text());
    CHECK(answer.ok());
    if (way == "twice") CHECK(call(conf, del).ok());
    CHECK(difference(before, snapshot()) == "");
    if (way != "namespace gone") CHECK(difference(box_before, snapshot(with_box)) == "");
  }
}

TEST_CASE("bridge private: CHECK sees every object that is missing or changed") {
  const Host host;
  const Json conf = demo_conf();
  const Netns box("box");
  const auto check = [&](const Json& result) {
    return call(with(conf, "prevResult", result), private_call("CHECK", box));
  };
  const Json sample = add(conf, private_call("ADD", box));
  const std::string veth = sample["interfaces"][1]["name"];
  const std::string inner = "slx" + veth.substr(3);
  const std::string mac = guest_entry(sample, "vm-1")["mac"];
  (void)call(conf, private_call("DEL", box));
  struct Damage {
    const char* what;
    std::string command;
    std::string netns;
  };
  const std::string host_ns = Host::netns();
  const Damage damages[] = {{"tap", "ip link del tap0", box.path()},
                            {"tap down", "ip link set tap0 down", box.path()},
                            {"veth", "ip link del " + veth, host_ns},
                            {"inner down", "ip link set " + inner + " down", box.path()},
                            {"redirect out", "tc qdisc del dev tap0 clsact", box.path()},
                            {"redirect in", "tc qdisc del dev " + inner + " clsact", box.path()},
                            {"master", "ip link set " + veth + " nomaster", host_ns},
                            {"host end down", "ip link set " + veth + " down", host_ns},
                            {"fdb", "bridge fdb del " + mac + " dev " + veth + " master", host_ns}};
  for (const Damage& damage : damages) {
    CAPTURE(damage.what);
    const Json result = add(conf, private_call("ADD", box));
    const Answer whole = check(result);
    INFO(whole.text());
    REQUIRE(whole.ok());
    (void)must(damage.command, damage.netns);
    const Answer broken = check(result);
    INFO(broken.text());
    CHECK_FALSE(broken.ok());
    CHECK_FALSE(broken.msg().empty());
    REQUIRE(call(conf, private_call("DEL", box)).ok());
  }
}

TEST_CASE("bridge private: GC reaches into namespaces that nobody names") {
  const Host host;
  const Json conf = demo_conf();
  const Netns kept("kept");
  const Netns stale("stale");
  const SnapshotOptions all{.netns = {kept.path(), stale.path()}};
  (void)add(conf, private_call("ADD", kept, "keep"));
  const std::string before = snapshot(all);
  (void)add(conf, private_call("ADD", stale, "stale"));
  const Json valid = {{{"containerID", "keep"}, {"ifname", "tap0"}}};
  const Answer collected = call(with(conf, "/cni.dev~1valid-attachments", valid), host_call("GC"));
  INFO(collected.text());
  CHECK(collected.ok());
  CHECK(difference(before, snapshot(all)) == "");
}

TEST_CASE("bridge private: a foreign link of the wanted name is left alone") {
  const Host host;
  const Netns box("box");
  (void)must("ip tuntap add tap0 mode tap", box.path());
  const SnapshotOptions with_box{.netns = {box.path()}};
  const std::string before = snapshot(with_box);
  const Answer refused = call(demo_conf(), private_call("ADD", box));
  INFO(refused.text());
  CHECK_FALSE(refused.ok());
  CHECK(refused.msg().find("'tap0'") != std::string::npos);
  CHECK(call(demo_conf(), private_call("DEL", box)).ok());
  CHECK(difference(before, snapshot(with_box)) == "");
}
