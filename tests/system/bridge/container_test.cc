// slicer-bridge with "device": "veth": a container's interface.
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/system/bridge/bridge_support.h"

using namespace slicer::test;
using namespace slicer::test::bridge;

namespace {

Json veth_conf() { return with(dual_conf(), "device", "veth"); }

Call eth(const std::string& command, const Netns& box, const std::string& id = "pod-1") {
  return private_call(command, box, id, "eth0");
}

}  // namespace

TEST_CASE("bridge veth: the namespace gets an interface with addresses and routes, as upstream gives it") {
  const Host host;
  const Surroundings around;
  around.route_to_vms("192.0.2.0/24");
  const Netns box("box");
  const Json result = add(veth_conf(), eth("ADD", box));
  INFO("result: ", result.dump(1));
  REQUIRE(result["interfaces"].size() == 3);
  CHECK(result["interfaces"][2]["name"] == "eth0");
  CHECK(result["interfaces"][2]["sandbox"] == box.path());
  for (const Json& ip : result["ips"]) CHECK(ip["interface"] == 2);
  CHECK(must("ip addr show dev eth0", box.path()).find(address_of(result, 4)) != std::string::npos);
  CHECK(must("ip addr show dev eth0", box.path()).find(address_of(result, 6)) != std::string::npos);
  CHECK(must("ip route", box.path()).find("default via 192.0.2.1 dev eth0") != std::string::npos);
  CHECK(pings(box.path(), "192.0.2.1"));
  CHECK(pings(box.path(), Surroundings::kInternet));
  CHECK(pings(Host::netns(), ip_of(result, 4)));
  CHECK(pings(around.machine.path(), ip_of(result, 4)));
  CHECK(pings(Host::netns(), ip_of(result, 6)));
  const Answer checked = call(with(veth_conf(), "prevResult", result), eth("CHECK", box));
  INFO(checked.text());
  CHECK(checked.ok());
}

TEST_CASE("bridge veth: containers and VMs share a bridge") {
  const Host host;
  const Netns box("box");
  const Json pod = add(veth_conf(), eth("ADD", box));
  const Json vm = add(dual_conf(), host_call("ADD"));
  const Guest guest(Guest::from_result(vm, host_call("ADD"), "guest-1"));
  CHECK(pings(guest.netns(), ip_of(pod, 4)));
  CHECK(pings(box.path(), ip_of(vm, 4)));
}

TEST_CASE("bridge veth: the host's own namespace is refused with code 8") {
  const Host host;
  const std::string before = snapshot();
  const Answer refused = call(veth_conf(), host_call("ADD"));
  INFO(refused.text());
  CHECK(refused.code() == 8);
  CHECK(difference(before, snapshot()) == "");
}

TEST_CASE("bridge veth: DEL leaves nothing in every way") {
  const Host host;
  const Json conf = veth_conf();
  Netns settled("settled");
  const std::string before = settled_snapshot(conf, eth("ADD", settled));
  for (const std::string way : {"plain", "twice", "without CNI_NETNS", "namespace gone"}) {
    CAPTURE(way);
    Netns box("box");
    const SnapshotOptions with_box{.netns = {box.path()}};
    const std::string box_before = snapshot(with_box);
    (void)add(conf, eth("ADD", box));
    Call del = eth("DEL", box);
    if (way == "without CNI_NETNS") del.netns = "";
    if (way == "namespace gone") box.remove();
    const Answer answer = call(conf, del);
    INFO(answer.text());
    CHECK(answer.ok());
    if (way == "twice") CHECK(call(conf, del).ok());
    CHECK(difference(before, snapshot()) == "");
    if (way != "namespace gone") CHECK(difference(box_before, snapshot(with_box)) == "");
  }
}

TEST_CASE("bridge veth: CHECK sees what is missing") {
  const Host host;
  const Json conf = with(veth_conf(), "macspoofchk", true);
  const Netns box("box");
  const Json sample = add(conf, eth("ADD", box));
  const std::string veth = sample["interfaces"][1]["name"];
  (void)call(conf, eth("DEL", box));
  for (const std::string damage :
       {"ip link del eth0", "ip link set eth0 down", "ip link set eth0 address 02:00:5e:00:53:55",
        "ip addr flush dev eth0", "ip route del default"}) {
    CAPTURE(damage);
    const Json result = add(conf, eth("ADD", box));
    const auto check = [&] { return call(with(conf, "prevResult", result), eth("CHECK", box)); };
    REQUIRE(check().ok());
    (void)must(damage, box.path());
    const Answer broken = check();
    INFO(broken.text());
    CHECK_FALSE(broken.ok());
    REQUIRE(call(conf, eth("DEL", box)).ok());
  }
  const Json result = add(conf, eth("ADD", box));
  (void)must("tc qdisc del dev " + veth + " clsact");
  CHECK_FALSE(call(with(conf, "prevResult", result), eth("CHECK", box)).ok());
}

TEST_CASE("bridge veth: GC removes a stale container") {
  const Host host;
  const Json conf = veth_conf();
  const Netns kept("kept");
  const Netns stale("stale");
  const SnapshotOptions all{.netns = {kept.path(), stale.path()}};
  (void)add(conf, eth("ADD", kept, "keep"));
  const std::string before = snapshot(all);
  (void)add(conf, eth("ADD", stale, "stale"));
  const Json valid = {{{"containerID", "keep"}, {"ifname", "eth0"}}};
  CHECK(call(with(conf, "/cni.dev~1valid-attachments", valid), host_call("GC")).ok());
  CHECK(difference(before, snapshot(all)) == "");
}

TEST_CASE("bridge veth: disableContainerInterface leaves it down and without addresses") {
  const Host host;
  const Netns box("box");
  Json conf = with(veth_conf(), "disableContainerInterface", true);
  CHECK(call(conf, eth("ADD", box)).code() == 7);
  for (const char* key : {"ipam", "isGateway", "ipMasq"}) conf.erase(key);
  const Json result = add(conf, eth("ADD", box));
  CHECK(must("ip link show dev eth0", box.path()).find("state DOWN") != std::string::npos);
  CHECK(call(with(conf, "prevResult", result), eth("CHECK", box)).ok());
}

TEST_CASE("bridge veth: enabledad waits until the address is usable") {
  const Host host;
  const Netns box("box");
  in_netns(box.path(), [] {
    for (const char* which : {"all", "default"})
      Host::sysctl(std::string("net/ipv6/conf/") + which + "/accept_dad", "1");
  });
  const Json result = add(with(veth_conf(), "enabledad", true), eth("ADD", box));
  const std::string addresses = must("ip -6 addr show dev eth0", box.path());
  INFO(addresses);
  CHECK(addresses.find(address_of(result, 6)) != std::string::npos);
  CHECK(addresses.find("tentative") == std::string::npos);
  // Another machine with that address: refused, and nothing left.
  const Netns other("other");
  (void)call(with(veth_conf(), "enabledad", true), eth("DEL", box));
  Json asked = with(veth_conf(), "enabledad", true);
  (void)must("ip link add thief type veth peer name eth0 netns other");
  (void)must("ip link set thief master slicer0 up");
  (void)must("ip link set eth0 up", other.path());
  (void)must("ip addr add " + address_of(result, 6) + " dev eth0 nodad", other.path());
  asked["runtimeConfig"]["ips"] = {ip_of(result, 6)};
  // A link-local address that is still being probed gets its routes afterwards: not ours, but in the snapshot.
  REQUIRE(eventually([&] { return must("ip -6 addr show tentative").empty(); }));
  const std::string before = snapshot({.netns = {box.path()}});
  const Answer refused = call(asked, eth("ADD", box));
  INFO(refused.text());
  CHECK_FALSE(refused.ok());
  CHECK(refused.msg().find(ip_of(result, 6)) != std::string::npos);
  CHECK(difference(before, snapshot({.netns = {box.path()}})) == "");
}

TEST_CASE("bridge veth: a spoofing container is closed off when macspoofchk asks for it") {
  const Host host;
  const Netns box("box");
  const Json result = add(with(veth_conf(), "macspoofchk", true), eth("ADD", box));
  CHECK(pings(box.path(), "192.0.2.1"));
  (void)must("ip addr add 192.0.2.99/32 dev eth0", box.path());
  CHECK_FALSE(run(words("ping -c 1 -W 1 -I 192.0.2.99 192.0.2.1"), {.netns = box.path()}).ok());
  (void)must("ip link set eth0 address 02:00:5e:00:53:66", box.path());
  CHECK_FALSE(pings(box.path(), "192.0.2.1", 1));
}
