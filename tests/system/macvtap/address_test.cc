// Which addresses guests get, and which never.
#include <doctest/doctest.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <set>
#include <vector>

#include "lib/base/unique_fd.h"
#include "lib/net/arp_probe.h"
#include "lib/net/link.h"
#include "tests/system/macvtap/lan_watch.h"
#include "tests/system/macvtap/macvtap_support.h"

using namespace slicer::test;
using namespace slicer::test::macvtap;

namespace net = slicer::net;

namespace {

/// Attachment number `i` of a namespace.
Call numbered(const Netns& box, int i) {
  Call how = call_in("ADD", box, "vm-" + std::to_string(i));
  how.ifname = "tap" + std::to_string(i);
  return how;
}

/// Another IPAM plugin, which always gives one address, and keeps a list of what it was asked.
struct OtherIpam {
  explicit OtherIpam(const std::string& address) {
    (void)must("mkdir -p /run/other-ipam");
    std::ofstream("/run/other-ipam/other-ipam")
        << "#!/bin/sh\necho $CNI_COMMAND >>/run/other-ipam/calls\n"
        << "[ $CNI_COMMAND != ADD ] || echo '{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"" << address
        << "\"}]}'\n";
    (void)chmod("/run/other-ipam/other-ipam", 0755);
  }
  static Json conf() { return with(dhcp_conf(), "ipam", {{"type", "other-ipam"}}); }
  static Call call(Call how) {
    how.extra["CNI_PATH"] = bin_dir() + ":/run/other-ipam";
    return how;
  }
  static std::string calls() { return must("cat /run/other-ipam/calls"); }
};

/// Sends the frame every millisecond.
void flood(const std::string& netns, const std::string& link, const Bytes& frame) {
  in_netns(netns, [&] {
    const slicer::UniqueFd fd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    sockaddr_ll place = {};
    place.sll_family = AF_PACKET;
    place.sll_ifindex = static_cast<int>(if_nametoindex(link.c_str()));
    for (;;) {
      (void)sendto(fd.get(), frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&place), sizeof place);
      (void)poll(nullptr, 0, 1);
    }
  });
}

}  // namespace

TEST_CASE("macvtap addresses: 35 of the gateway's subnet, and a clear error at the 36th") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  for (int i = 0; i < 35; ++i)
    CHECK(address_of(add(quick_conf(), numbered(box, i)), 4) == "198.51.100." + std::to_string(220 + i) + "/24");
  const Answer answer = call(quick_conf(), numbered(box, 35));
  CHECK(answer.code() == 104);
  CHECK(answer.msg() ==
        "allocate an address for 'vm-35/tap35' in network 'lan': no address is free in "
        "198.51.100.220-198.51.100.254");
  CHECK_FALSE(run(words("ip link show tap35"), {.netns = box.path()}).ok());
  CHECK(call(quick_conf(), {.command = "STATUS"}).code() == 50);
  del(quick_conf(), numbered(box, 7));
  CHECK(ip_of(add(quick_conf(), numbered(box, 35)), 4) == "198.51.100.227");
}

TEST_CASE("macvtap addresses: the result has gateway and default route, or the routes that IPAM has") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  const Json result = add(quick_conf(), numbered(box, 0));
  CHECK(result["ips"] == Json{{{"address", "198.51.100.220/24"}, {"gateway", "198.51.100.1"}, {"interface", 1}}});
  CHECK(result["routes"] == Json{{{"dst", "0.0.0.0/0"}, {"gw", "198.51.100.1"}}});
  const Json conf = with(quick_conf("other"), "/ipam/routes", {{{"dst", "203.0.113.0/24"}}});
  CHECK(add(conf, numbered(box, 1))["routes"] == Json{{{"dst", "203.0.113.0/24"}}});
}

TEST_CASE("macvtap addresses: never the gateway's, never the host's own, whatever the range") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  (void)must("ip link add other0 type bridge");
  (void)must("ip addr add 198.51.100.4/32 dev other0");  // not on the parent, and down
  // .1 is the gateway's, .2 the host's; .3, which the machine has, is not asked for here.
  const Json conf = with(quick_conf(), "/ipam/range", "198.51.100.1-198.51.100.5");
  CHECK(ip_of(add(conf, numbered(box, 0)), 4) == "198.51.100.3");
  CHECK(ip_of(add(conf, numbered(box, 1)), 4) == "198.51.100.5");
  CHECK(call(conf, numbered(box, 2)).code() == 104);
  Call asking = numbered(box, 3);
  asking.args = "IP=198.51.100.2";
  CHECK(call(conf, asking).code() == 102);
}

TEST_CASE("macvtap addresses: one that somebody on the LAN has is skipped and held back") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  (void)must("ip addr add 198.51.100.220/24 dev lan0", around.machine.path());
  (void)must("ip addr add 198.51.100.222/24 dev lan0", around.machine.path());
  const std::string mac = Json::parse(must("ip -j link show lan0", around.machine.path()))[0]["address"];
  const Answer first = call(static_conf(), numbered(box, 0));
  CHECK(ip_of(first.json, 4) == "198.51.100.221");
  CHECK(first.err.find("slicer-macvtap: address '198.51.100.220' is in use on the LAN, by " + mac +
                       ", giving the next one") != std::string::npos);
  SUBCASE("the next ADD does not meet it again") {
    const Answer second = call(static_conf(), numbered(box, 1));
    CHECK(ip_of(second.json, 4) == "198.51.100.223");
    CHECK(second.err.find(".222' is in use") != std::string::npos);
    CHECK(second.err.find(".220'") == std::string::npos);
  }
  SUBCASE("not even when the search comes round") {
    const Json conf = with(static_conf("round"), "/ipam/range", "198.51.100.220-198.51.100.223");
    CHECK(ip_of(add(conf, numbered(box, 1)), 4) == "198.51.100.221");
    CHECK(ip_of(add(conf, numbered(box, 2)), 4) == "198.51.100.223");
    del(conf, numbered(box, 1));
    const Answer again = call(conf, numbered(box, 3));
    CHECK(ip_of(again.json, 4) == "198.51.100.221");
    CHECK(again.err.find("in use") == std::string::npos);
  }
  SUBCASE("asked for: an error") {
    Call asking = numbered(box, 1);
    asking.args = "IP=198.51.100.222";
    const Answer answer = call(static_conf(), asking);
    CHECK(answer.code() == 102);
    CHECK(answer.msg() == "reserve the requested address: address '198.51.100.222' is in use on the LAN, by " + mac);
    CHECK(must("find /var/lib/cni/networks/lan -name 198.51.100.222") == "");
  }
  SUBCASE("\"probe\": false gives it") {
    const Json conf = with(with(quick_conf("blind"), "/ipam/range", "198.51.100.222-198.51.100.222"), "probe", false);
    CHECK(ip_of(add(conf, numbered(box, 1)), 4) == "198.51.100.222");
  }
  SUBCASE("all of them: exhausted, and why") {
    const Answer answer =
        call(with(static_conf("small"), "/ipam/range", "198.51.100.222-198.51.100.222"), numbered(box, 1));
    CHECK(answer.code() == 104);
    CHECK(answer.msg() ==
          "allocate an address for 'vm-1/tap1' in network 'small': no address is free in 198.51.100.222 (1 in use on "
          "the LAN, the last of them 198.51.100.222)");
  }
  SUBCASE("free again, it is found when there is nothing else") {
    const Json conf = with(static_conf(), "/ipam/range", "198.51.100.220-198.51.100.221");
    CHECK(call(conf, numbered(box, 1)).code() == 104);
    (void)must("ip addr del 198.51.100.220/24 dev lan0", around.machine.path());
    CHECK(call(conf, {.command = "STATUS"}).ok());  // a runtime that asks first would never find it else
    CHECK(ip_of(add(conf, numbered(box, 1)), 4) == "198.51.100.220");
  }
}

TEST_CASE("macvtap addresses: the LAN is asked twice, by nobody, or not at all when told so") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  const LanWatch lan(around.machine.path(), "lan0");
  Json conf = static_conf();
  int requests = 2;
  SUBCASE("asked") {}
  SUBCASE("not asked") {
    conf = quick_conf();
    requests = 0;
  }
  const Json result = add(conf, numbered(box, 0));
  const Bytes probe = arp_request(
      {.source_mac = guest_entry(result, "vm-0")["mac"], .source_ip = "0.0.0.0", .target_ip = "198.51.100.220"});
  constexpr ptrdiff_t kWithoutPadding = 42;
  CHECK(lan.count(std::string(probe.begin(), probe.begin() + kWithoutPadding)) == requests);
}

TEST_CASE("macvtap addresses: two of one guest are asked for together, and one that somebody has is skipped") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  const LanWatch lan(around.machine.path(), "lan0");
  const Json ranges = {{{{"gateway", "198.51.100.1/24"}}}, {{{"gateway", "203.0.113.1/24"}}}};
  const Json conf = with(dhcp_conf(), "ipam", {{"type", "slicer-ipam"}, {"ranges", ranges}});
  SUBCASE("nobody has them") {
    const std::string mac = guest_entry(add(conf, numbered(box, 0)), "vm-0")["mac"];
    const auto asking = [&](const char* ip) {
      constexpr ptrdiff_t kWithoutPadding = 42;
      const Bytes frame = arp_request({.source_mac = mac, .source_ip = "0.0.0.0", .target_ip = ip});
      return std::string(frame.begin(), frame.begin() + kWithoutPadding);
    };
    REQUIRE(lan.sees(asking("198.51.100.220")));
    CHECK(lan.sees_before(asking("203.0.113.220"), asking("198.51.100.220")));
    CHECK(lan.sees(asking("203.0.113.220")));
  }
  SUBCASE("the second") {
    (void)must("ip addr add 203.0.113.220/24 dev lan0", around.machine.path());
    const Answer answer = call(conf, numbered(box, 0));
    REQUIRE(answer.ok());
    CHECK(answer.json["ips"][1]["address"] == "203.0.113.221/24");
    CHECK(answer.err.find("address '203.0.113.220' is in use on the LAN") != std::string::npos);
  }
}

TEST_CASE("macvtap addresses: the LAN has 200 milliseconds for its answer, all in all") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  (void)add(quick_conf(), call_in("ADD", box));
  const auto ns = net::Netns::open(box.path()).value();
  net::RouteSocket session = net::RouteSocket::open_in(ns).value();
  const net::Link tap = net::get_link(session, "tap0").value();
  const auto free = slicer::addr::parse_ip("198.51.100.77").value();
  const auto took = [&] {
    const auto start = std::chrono::steady_clock::now();
    CHECK_FALSE(net::probe_addresses(ns, {.index = tap.index, .mac = tap.mac, .ips = {free}}).value());
    return std::chrono::steady_clock::now() - start;
  };
  CHECK(eventually([&] { return took() <= std::chrono::milliseconds(200); }));  // this machine may be busy
}

TEST_CASE("macvtap addresses: who answers in a VLAN is on another LAN") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  Bytes frame =
      arp_reply({.source_mac = "02:00:5e:00:53:07", .source_ip = "198.51.100.220", .target_ip = "198.51.100.220"});
  const auto answers = [&](const Bytes& tag) {
    Bytes tagged = frame;
    tagged.insert(tagged.begin() + 12, tag.begin(), tag.end());
    return std::make_unique<Background>([tagged, &around] { flood(around.machine.path(), "lan0", tagged); });
  };
  SUBCASE("tagged") {
    const auto flooding = answers({0x81, 0x00, 0x00, 0x05});
    CHECK(ip_of(add(static_conf(), numbered(box, 0)), 4) == "198.51.100.220");
  }
  SUBCASE("a priority alone is no VLAN") {
    const auto flooding = answers({0x81, 0x00, 0xe0, 0x00});
    CHECK(ip_of(add(static_conf(), numbered(box, 0)), 4) == "198.51.100.221");
  }
}

TEST_CASE("macvtap addresses: a parent without carrier asks nobody, which is told") {
  const Host host;
  const Netns box("box");
  (void)must("ip link add eth1 type veth peer name eth1-end");
  (void)must("ip link set eth1 up");
  const Answer answer = call(with(static_conf(), "parent", "eth1"), numbered(box, 0));
  CHECK(ip_of(answer.json, 4) == "198.51.100.220");
  CHECK(answer.err.find("the LAN was not asked for the addresses of 'tap0': its parent has no carrier") !=
        std::string::npos);
  (void)must("ip link set eth1-end up");
  CHECK(call(with(static_conf(), "parent", "eth1"), numbered(box, 1)).err.find("no carrier") == std::string::npos);
}

TEST_CASE("macvtap addresses: a VM beside it, on the same parent, answers for its own") {
  const Host host;
  const Surroundings around;
  const Vm vm(quick_conf("first"));
  const Netns box("box");
  REQUIRE(vm.ip() == "198.51.100.220");
  CHECK(ip_of(add(static_conf("second"), numbered(box, 0)), 4) == "198.51.100.221");
}

TEST_CASE("macvtap addresses: what another IPAM plugin gives is an error when somebody has it") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  const Call how = OtherIpam::call(call_in("ADD", box));
  const auto refused = [&](const std::string& msg) {
    const Answer answer = call(OtherIpam::conf(), how);
    INFO(answer.text());
    CHECK(answer.code() == 102);
    CHECK(answer.msg().find(msg) == 0);
    CHECK(OtherIpam::calls() == "ADD\nDEL\n");
    CHECK_FALSE(run(words("ip link show tap0"), {.netns = box.path()}).ok());
  };
  SUBCASE("on the LAN") {
    const OtherIpam ipam("198.51.100.3/24");
    refused("use what IPAM 'other-ipam' gave: address '198.51.100.3' is in use on the LAN, by ");
  }
  SUBCASE("the host itself") {
    const OtherIpam ipam("198.51.100.2/24");
    refused("use address '198.51.100.2' of IPAM 'other-ipam': it is the host's own");
  }
  SUBCASE("nobody") {
    const OtherIpam ipam("198.51.100.77/24");
    CHECK(ip_of(add(OtherIpam::conf(), how), 4) == "198.51.100.77");
    CHECK(call(OtherIpam::conf(), OtherIpam::call(call_in("DEL", box))).ok());
    CHECK(OtherIpam::calls() == "ADD\nDEL\n");
  }
}

TEST_CASE("macvtap addresses: VMs that are added at once get different ones, and do not wait for each other's probes") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  constexpr int kVms = 8;
  std::vector<Background> started;
  for (int i = 0; i < kVms; ++i)
    started.emplace_back(
        [&, i] { std::ofstream("/run/result-" + std::to_string(i)) << call(static_conf(), numbered(box, i)).out; });
  std::set<std::string> given;
  CHECK(eventually([&] {
    given.clear();
    for (int i = 0; i < kVms; ++i) {
      std::ifstream file("/run/result-" + std::to_string(i));
      const Json result = Json::parse(file, nullptr, false);
      if (!result.is_discarded() && result.contains("ips")) given.insert(ip_of(result, 4));
    }
    return given.size() == kVms;
  }));
}

TEST_CASE("macvtap addresses: both families") {
  const Host host;
  const Surroundings around;
  const Json ranges = {{{{"gateway", "198.51.100.1/24"}}}, {{{"gateway", "2001:db8:100::1/64"}}}};
  const Vm vm(with(dhcp_conf(), "ipam", {{"type", "slicer-ipam"}, {"ranges", ranges}}));
  CHECK(vm.ip() == "198.51.100.220");
  CHECK(ip_of(vm.result, 6) == "2001:db8:100:0:ffff:ffff:ffff:ffdd");
  CHECK(vm.pings(Surroundings::kLanMachine));
  CHECK(vm.pings(Surroundings::kLanMachine6));
  CHECK(vm.pings(Surroundings::kInternet6));
}
