// slicer-macvtap from outside: what ADD makes and DEL removes.
#include <doctest/doctest.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "lib/net/macvtap.h"
#include "tests/system/macvtap/lan_watch.h"
#include "tests/system/macvtap/macvtap_support.h"

using namespace slicer::test;
using namespace slicer::test::macvtap;

namespace net = slicer::net;

namespace {

/// RFC 4861, section 4.2, with one prefix (section 4.6.2), 2001:db8:5::/64, to make addresses of.
Bytes router_advertisement(const std::string& mac) {
  Bytes icmp{134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 14, 16, 0, 0, 0, 0};
  for (const uint8_t byte : ip6_bytes("2001:db8:5::")) icmp.push_back(byte);
  Bytes packet{0x60, 0, 0, 0, 0, static_cast<uint8_t>(icmp.size()), 58, 255};
  for (const char* ip : {"fe80::1", "ff02::1"})
    for (const uint8_t byte : ip6_bytes(ip)) packet.push_back(byte);
  packet.insert(packet.end(), icmp.begin(), icmp.end());
  uint32_t sum = 58 + static_cast<uint32_t>(icmp.size());
  for (size_t i = 8; i < packet.size(); i += 2) sum += static_cast<uint32_t>(packet[i] << 8 | packet[i + 1]);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = ~((sum & 0xffff) + (sum >> 16));
  packet[42] = static_cast<uint8_t>(sum >> 8);
  packet[43] = static_cast<uint8_t>(sum);
  return ether_frame({.source_mac = mac, .target_mac = "33:33:00:00:00:01"}, 0x86dd, packet);
}

}  // namespace

TEST_CASE("macvtap: ADD makes the attachment contract's pair, without addresses when there is no IPAM") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  const Json result = add(dhcp_conf(), call_in("ADD", box));
  const std::string mac = guest_entry(result, "vm-1").at("mac");
  CHECK(result["interfaces"] == Json{{{"name", "tap0"}, {"mac", mac}, {"mtu", 1500}, {"sandbox", box.path()}},
                                     {{"name", "tap0"}, {"mac", mac}, {"mtu", 1500}, {"sandbox", "vm-1"}}});
  CHECK_FALSE(result.contains("ips"));
  const std::string link = must("ip -d link show tap0", box.path());
  INFO(link);
  CHECK(link.find("macvtap mode bridge") != std::string::npos);
  CHECK(link.find(mac) != std::string::npos);
  CHECK(link.find(",UP") != std::string::npos);
  CHECK(link.find("alias slicer:lan/vm-1/tap0") != std::string::npos);
  CHECK(link.find("addrgenmode none") != std::string::npos);
  CHECK(must("ip -o addr show dev tap0", box.path()) == "");
  del(dhcp_conf(), call_in("DEL", box));
  CHECK_FALSE(run(words("ip link show tap0"), {.netns = box.path()}).ok());
}

TEST_CASE("macvtap: the namespace takes nothing from the LAN's routers before the guest is there") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  const Netns rogue("rogue");
  (void)add(dhcp_conf(), call_in("ADD", box));
  const Json router = add(with(dhcp_conf(), "macspoofchk", false), call_in("ADD", rogue, "vm-2"));
  const RawGuest sender({.tap = "tap0", .netns = rogue.path()});
  const LanWatch lan(around.machine.path(), "lan0");
  const Bytes frame = router_advertisement(guest_entry(router, "vm-2")["mac"]);
  sender.send(frame);
  REQUIRE(lan.sees(std::string(frame.begin() + 54, frame.end())));
  CHECK_FALSE(eventually([&] { return must("ip -6 -o addr show dev tap0", box.path()) != ""; },
                         std::chrono::milliseconds(400)));
  CHECK(must("ip -6 route show default", box.path()) == "");
}

TEST_CASE("macvtap: a guest with a static address reaches the LAN, and the LAN reaches it") {
  const Host host;
  const Surroundings around;
  const Vm vm(static_conf());
  CHECK(vm.ip() == "198.51.100.220");
  CHECK(vm.pings(Surroundings::kLanMachine));
  CHECK(pings(around.machine.path(), vm.ip()));
  CHECK(vm.pings(Surroundings::kInternet));
}

TEST_CASE("macvtap: a guest hears the groups that it joins, and so is found by IPv6") {
  const Host host;
  const Surroundings surroundings;
  const Vm vm(with(static_conf(), "ipspoofchk", false));
  (void)must("ip addr add 2001:db8:100::77/64 dev eth0 nodad", vm.guest.netns());
  CHECK(pings(surroundings.machine.path(), "2001:db8:100::77"));
}

TEST_CASE("macvtap: the device is found in the namespace's sysfs, where two namespaces have the same /dev/tapN") {
  const Host host;
  const Surroundings around;
  const Netns one("one");
  const Netns two("two");
  (void)add(dhcp_conf(), call_in("ADD", one, "vm-1"));
  (void)add(dhcp_conf(), call_in("ADD", two, "vm-2"));
  // The same index in both: /dev/tapN could be only one of them.
  REQUIRE(must("cat /sys/class/net/lo/ifindex") == "1\n");
  const auto number = [](const Netns& ns) { return net::get_macvtap_device(*net::Netns::open(ns.path()), "tap0"); };
  REQUIRE(number(one));
  REQUIRE(number(two));
  CHECK(number(one)->major == number(two)->major);
  CHECK(number(one)->minor != number(two)->minor);
  const std::string before = must("ls -l /dev /run");
  CHECK(net::open_macvtap(*net::Netns::open(two.path()), "tap0"));
  CHECK(must("ls -l /dev /run") == before);
  const auto lo = net::open_macvtap(*net::Netns::open(two.path()), "lo");
  REQUIRE_FALSE(lo);
  CHECK(lo.error().kind == slicer::Kind::kNotFound);
  CHECK(lo.error().message == "find device of macvtap 'lo' in '/run/netns/two': the link is no macvtap");
}

TEST_CASE("macvtap: other runtimes open the device as docs/slicer-macvtap.md tells them") {
  const Host host;
  const Surroundings around;
  const Netns vm1("vm1");
  (void)add(dhcp_conf(), call_in("ADD", vm1));
  std::ifstream file(SLICER_SOURCE_DIR "/docs/slicer-macvtap.md");
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  const size_t begin = page.find("```sh\n") + 6;
  const std::string lines = page.substr(begin, page.find("qemu-system", begin) - begin);
  REQUIRE(lines.find("mknod") != std::string::npos);
  // Many distributions mount /tmp so.
  (void)must("mkdir /run/nodev");
  (void)must("mount -t tmpfs -o nodev tmpfs /run/nodev");
  const auto in_shell = [&](const std::string& shell, const std::string& script) {
    return run({shell, "-c", "export TMPDIR=/run/nodev\n" + script + "stat -L -c %t:%T /proc/self/fd/3"});
  };
  const auto nodes = [] { return run({"sh", "-c", "ls -d /dev/tmp.* /run/nodev/tmp.*"}).out; };
  const net::DeviceNumber device = *net::get_macvtap_device(*net::Netns::open(vm1.path()), "tap0");
  std::array<char, 32> number{};
  (void)std::snprintf(number.data(), number.size(), "%x:%x\n", device.major, device.minor);
  for (const char* shell : {"bash", "sh"}) {
    const Outcome opened = in_shell(shell, lines);
    INFO(lines, opened.err);
    CHECK(opened.out == number.data());
    CHECK(nodes() == "");
    // One that nobody can open.
    CHECK(in_shell(shell, "n=250:250\n" + lines.substr(lines.find("d=$("))).out != number.data());
    CHECK(nodes() == "");
  }
}
