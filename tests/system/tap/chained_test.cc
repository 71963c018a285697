// slicer-tap behind a plugin that made a container's interface.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "tests/system/tap/tap_support.h"

using slicer::UniqueFd;
using namespace slicer::test;
using namespace slicer::test::tap;

TEST_CASE("tap: ADD gives the container's interface to a VM, and says so by the contract") {
  const Host host;
  const Container container;
  const Json result = container.add(container.conf());
  INFO(result.dump(1));
  REQUIRE(result["interfaces"].size() == container.result["interfaces"].size() + 2);
  for (size_t i = 0; i < container.result["interfaces"].size(); ++i)
    CHECK(result["interfaces"][i] == container.result["interfaces"][i]);
  const Json eth0 = result["interfaces"][2];
  const Json tap = result["interfaces"][3];
  const Json guest = result["interfaces"][4];
  CHECK(tap["name"] == "tap0");
  CHECK(tap["sandbox"] == container.box.path());
  CHECK(guest["name"] == "tap0");
  CHECK(guest["sandbox"] == "vm-1");
  CHECK(guest["mac"] == eth0["mac"]);
  CHECK(tap["mac"] != eth0["mac"]);
  CHECK(tap["mtu"] == eth0["mtu"]);
  REQUIRE(result["ips"].size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    CHECK(result["ips"][i]["interface"] == 4);
    CHECK(result["ips"][i]["address"] == container.result["ips"][i]["address"]);
    CHECK(result["ips"][i]["gateway"] == container.result["ips"][i]["gateway"]);
  }
  CHECK(result["routes"] == container.result["routes"]);
  const std::string link = must("ip -d link show dev tap0", container.box.path());
  CHECK(link.find("persist on") != std::string::npos);
  CHECK(link.find("user root") != std::string::npos);
  CHECK(link.find("slicer:demo/vm-1/eth0") != std::string::npos);
}

TEST_CASE("tap: packets pass both ways, of both families") {
  const Host host;
  const Surroundings around;
  around.route_to_vms("192.0.2.0/24");
  around.route_to_vms("2001:db8:1::/64");
  const Container container;
  const Json result = container.add(container.conf());
  const Guest guest(Guest::from_result(result, container.call("ADD"), "guest-1"));
  CHECK(pings(guest.netns(), "192.0.2.1"));
  CHECK(pings(guest.netns(), Surroundings::kInternet));
  CHECK(pings(guest.netns(), Surroundings::kInternet6));
  CHECK(pings(Host::netns(), ip_of(result, 4)));
  CHECK(pings(around.machine.path(), ip_of(result, 4)));
  CHECK(pings(around.machine.path(), ip_of(result, 6)));
}

TEST_CASE("tap: the VM has the TAP's name, owner, MTU and queues that were asked for") {
  const Host host;
  const Container container;
  const Json conf = with(with(container.conf(), "mtu", 1400), "multiQueue", true);
  const Json result = container.add(
      conf, "IgnoreUnknown=1;TC_REDIRECT_TAP_NAME=vm0;TC_REDIRECT_TAP_UID=40001;TC_REDIRECT_TAP_GID=40002");
  INFO(result.dump(1));
  CHECK(tap_entry(result, "vm-1")["name"] == "vm0");
  CHECK(guest_entry(result, "vm-1")["mtu"] == 1400);
  const std::string link = must("ip -d link show dev vm0", container.box.path());
  CHECK(link.find("mtu 1400") != std::string::npos);
  CHECK(link.find("user 40001 group 40002") != std::string::npos);
  CHECK(link.find("multi_queue") != std::string::npos);
  CHECK(call(with(conf, "prevResult", result),
             container.call("CHECK", "TC_REDIRECT_TAP_UID=40001;TC_REDIRECT_TAP_GID=40002"))
            .ok());
}

TEST_CASE("tap: keys of the configuration name the owner, too, and CNI_ARGS wins") {
  const Host host;
  const Container container;
  const Json conf = with(with(container.conf(), "owner", 40007), "group", 40008);
  (void)container.add(conf, "TC_REDIRECT_TAP_UID=40009");
  CHECK(must("ip -d link show dev tap0", container.box.path()).find("user 40009 group 40008") != std::string::npos);
}

TEST_CASE("tap: without a name the first free tapN is taken, and a name in use is refused") {
  const Host host;
  const Container container;
  (void)must("ip tuntap add tap0 mode tap", container.box.path());
  const SnapshotOptions seen{.netns = {container.box.path()}};
  const std::string before = snapshot(seen);
  const Answer refused = call(container.conf(), container.call("ADD", "TC_REDIRECT_TAP_NAME=tap0"));
  INFO(refused.text());
  CHECK(refused.code() == 102);
  CHECK(refused.msg().find("'tap0'") != std::string::npos);
  CHECK(call(container.conf(), container.call("DEL", "TC_REDIRECT_TAP_NAME=tap0")).ok());
  CHECK(difference(before, snapshot(seen)) == "");
  CHECK(guest_entry(container.add(container.conf()), "vm-1")["name"] == "tap1");
}

TEST_CASE("tap: macspoofchk keeps frames of other MACs and addresses in the VM") {
  const Host host;
  const Container container;
  const Json conf = with(container.conf(), "macspoofchk", true);
  const Json result = container.add(conf);
  const RawGuest guest({.tap = "tap0", .netns = container.box.path()});
  const std::string mac = guest_entry(result, "vm-1")["mac"];
  const auto answered = [&](const std::string& source_mac, const std::string& source_ip) {
    guest.send(arp_request({.source_mac = source_mac, .source_ip = source_ip, .target_ip = "192.0.2.1"}));
    return guest.receive([](const Bytes& frame) { return frame[12] == 8 && frame[13] == 6 && frame[21] == 2; })
        .has_value();
  };
  CHECK(answered(mac, ip_of(result, 4)));
  CHECK_FALSE(answered("02:00:5e:00:53:99", ip_of(result, 4)));
  CHECK_FALSE(answered(mac, "192.0.2.77"));
  CHECK(call(with(conf, "prevResult", result), container.call("CHECK")).ok());
  (void)must("tc filter del dev tap0 ingress prio 1", container.box.path());
  const Answer open = call(with(conf, "prevResult", result), container.call("CHECK"));
  CHECK(open.code() == 105);
  CHECK(open.msg().find("anti-spoofing") != std::string::npos);
}

TEST_CASE("tap: every spec version has its shape") {
  const Host host;
  const Container container;
  for (const std::string version : {"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}) {
    CAPTURE(version);
    const Json result = container.add(with(container.conf(), "cniVersion", version));
    CHECK(result["cniVersion"] == version);
    if (version >= "0.3.0") {
      CHECK(tap_entry(result, "vm-1")["name"] == "tap0");
      CHECK(result["ips"][0].contains("version") == (version < "1.0.0"));
    }
    if (version < "0.3.0") CHECK(result.contains("ip4"));
    must_del(kPlugin, container.conf(), container.call("DEL"));
  }
}

TEST_CASE("tap: results that are odd or hostile hurt nobody") {
  const Host host;
  const Container container;
  const SnapshotOptions seen{.netns = {container.box.path()}};
  const std::string before = snapshot(seen);
  const Json ip = {{"address", "192.0.2.2/24"}};
  struct Odd {
    const char* what;
    Json result;
    int code;  ///< 0: it works
  };
  const Json foreign_pair = {{{"name", "tap7"}, {"sandbox", container.box.path()}},
                             {{"name", "tap7"}, {"sandbox", "vm-1"}}};
  const Odd odds[] = {{"empty", Json::object(), 0},
                      {"an address of nobody", {{"ips", {ip}}}, 0},
                      {"no such interface", {{"ips", {with(ip, "interface", 9)}}}, 6},
                      {"negative", {{"interfaces", {{{"name", "eth0"}}}}, {"ips", {with(ip, "interface", -1)}}}, 6},
                      {"host's", {{"interfaces", {{{"name", "cni0"}}}}, {"ips", {with(ip, "interface", 0)}}}, 0},
                      {"no list", {{"interfaces", "eth0"}}, 6},
                      {"a name of folders", {{"interfaces", {{{"name", "../../x"}, {"sandbox", "/etc/passwd"}}}}}, 0},
                      {"a VM's end already", {{"interfaces", foreign_pair}}, 7},
                      {"no version", {{"cniVersion", "9.9.9"}}, 1},
                      {"no object", Json::array(), 6}};
  for (const Odd& odd : odds) {
    CAPTURE(odd.what);
    const Json conf = with(tap_conf(), "prevResult", odd.result);
    const Answer answer = call(conf, container.call("ADD"));
    INFO(answer.text());
    CHECK(answer.code() == odd.code);
    if (odd.code == 0) CHECK(guest_entry(answer.json, "vm-1")["mac"] == container.result["interfaces"][2]["mac"]);
    const Answer gone = call(conf, container.call("DEL"));
    INFO(gone.text());
    CHECK(gone.ok());
    CHECK(difference(before, snapshot(seen)) == "");
  }
  // An address of the host's bridge is not the guest's.
  const Json conf =
      with(tap_conf(), "prevResult",
           {{"cniVersion", "1.1.0"}, {"interfaces", {{{"name", "cni0"}}}}, {"ips", {with(ip, "interface", 0)}}});
  CHECK(container.add(conf)["ips"][0]["interface"] == 0);
}

TEST_CASE("tap: what cannot be followed is refused with the reason, and nothing is left") {
  const Host host;
  const Container container;
  const Netns empty("empty");
  const Json anything = with(tap_conf(), "prevResult", Json::object());
  const Answer absent = call(anything, call_in("ADD", empty));
  INFO(absent.text());
  CHECK(absent.code() == 101);
  CHECK(absent.msg().find("'eth0'") != std::string::npos);
  Call loopback = call_in("ADD", empty);
  loopback.ifname = "lo";
  const Answer tunnel = call(anything, loopback);
  CHECK(tunnel.code() == 7);
  CHECK(must("ip -o link", empty.path()).find("tap") == std::string::npos);
  const Answer high = call(with(container.conf(), "mtu", 9000), container.call("ADD"));
  CHECK(high.code() == 7);
  CHECK(high.msg().find("1500") != std::string::npos);
  for (const auto& [key, value] : {std::pair<const char*, Json>{"bridge", "br0"},
                                   {"mac", "02:00:5e:00:53:01"},
                                   {"ipam", {{"type", "slicer-ipam"}}}}) {
    CAPTURE(key);
    const Answer refused = call(with(container.conf(), key, value), container.call("ADD"));
    INFO(refused.text());
    CHECK(refused.code() == 2);
    CHECK(refused.msg().find(key) != std::string::npos);
  }
  CHECK(must("ip -o link", container.box.path()).find("tap") == std::string::npos);
}

TEST_CASE("tap: the host's own namespace is refused, unless the override is set") {
  const Host host;
  connect({.link = "eth0", .address = "192.0.2.9/24"}, {.link = "peer0"});
  Call how{.command = "ADD", .container_id = "vm-1", .netns = Host::netns(), .ifname = "eth0"};
  const Json conf = with(tap_conf(), "prevResult", Json::object());
  const std::string before = snapshot();
  const Answer refused = call(conf, how);
  INFO(refused.text());
  CHECK(refused.code() == 8);
  how.extra["CNI_NETNS_OVERRIDE"] = "1";
  const Answer taken = call(conf, how);
  INFO(taken.text());
  CHECK(taken.ok());
  how.command = "DEL";
  CHECK(call(conf, how).ok());
  CHECK(difference(before, snapshot()) == "");
}

TEST_CASE("tap: many ADDs at once, of many VMs and of one") {
  const Host host;
  const Container one("one");
  const Container two("two");
  const SnapshotOptions seen{.netns = {one.box.path(), two.box.path()}};
  const std::string before = snapshot(seen);
  std::vector<std::unique_ptr<Background>> running;
  for (int i = 0; i < 16; ++i)
    running.push_back(std::make_unique<Background>([&, i] {
      while (access("/run/go", F_OK) != 0) (void)sched_yield();
      const Container& container = i % 2 == 0 ? one : two;
      (void)container.add(container.conf());
      (void)must("touch /run/done-" + std::to_string(i));
    }));
  (void)must("touch /run/go");
  for (int i = 0; i < 16; ++i) CHECK(eventually([&] { return run(words("rm /run/done-" + std::to_string(i))).ok(); }));
  (void)must("rm /run/go");
  for (const Container* container : {&one, &two}) {
    CHECK(words(must("ip -br link show type tun", container->box.path())).front() == "tap0");
    CHECK(must("ip -br link show type tun", container->box.path()).find("tap1") == std::string::npos);
    must_del(kPlugin, container->conf(), container->call("DEL"));
  }
  CHECK(difference(before, snapshot(seen)) == "");
}

TEST_CASE("tap: calls of one namespace wait for each other") {
  const Host host;
  const Container container;
  const UniqueFd lock(open(container.box.path().c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(flock(lock.get(), LOCK_EX) == 0);
  const Background adding([&] {
    (void)container.add(container.conf());
    (void)must("touch /run/done");
  });
  CHECK_FALSE(eventually([] { return access("/run/done", F_OK) == 0; }, std::chrono::milliseconds(500)));
  CHECK(must("ip -br link show type tun", container.box.path()) == "");
  REQUIRE(flock(lock.get(), LOCK_UN) == 0);
  CHECK(eventually([] { return access("/run/done", F_OK) == 0; }));
}
