// What a VM sends under another's name does not reach the LAN.
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/system/macvtap/lan_watch.h"
#include "tests/system/macvtap/macvtap_support.h"

using namespace slicer::test;
using namespace slicer::test::macvtap;

namespace {

struct Scene {
  explicit Scene(const Json& conf)
      : box("box"),
        result(add(conf, call_in("ADD", box))),
        guest({.tap = "tap0", .netns = box.path()}),
        lan(around.machine.path(), "lan0") {
    mac = guest_entry(result, "vm-1")["mac"];
  }
  /// Whether the LAN sees what the guest sends.
  [[nodiscard]] bool passes(const Bytes& frame, const std::string& marker) const {
    guest.send(frame);
    guest.send(udp_frame(honest(), 9, "that-was-all"));
    return lan.sees_before(marker, "that-was-all");
  }
  [[nodiscard]] bool passes(const Bytes& frame, const std::string& marker, const LeftChecksum& checksum) const {
    guest.send(frame, checksum);
    guest.send(udp_frame(honest(), 9, "that-was-all"));
    return lan.sees_before(marker, "that-was-all");
  }
  [[nodiscard]] bool passes_udp(const Ends& ends, const std::string& marker) const {
    return passes(udp_frame(ends, 9, marker), marker);
  }
  [[nodiscard]] bool passes_arp(const Bytes& frame) const {
    return passes(frame, std::string(frame.begin() + 12, frame.end()));
  }
  [[nodiscard]] Ends honest() const {
    return {.source_mac = mac, .source_ip = "198.51.100.220", .target_ip = "198.51.100.3"};
  }

  Surroundings around;
  Netns box;
  Json result;
  RawGuest guest;
  LanWatch lan;
  std::string mac;
};

Ends changed(Ends ends, std::string Ends::* what, const std::string& value) {
  ends.*what = value;
  return ends;
}

}  // namespace

TEST_CASE("macvtap spoof: only the guest's own MAC and addresses pass") {
  const Host host;
  const Scene scene(quick_conf());
  const Ends honest = scene.honest();
  CHECK(scene.passes_udp(honest, "honest"));
  CHECK_FALSE(scene.passes_udp(changed(honest, &Ends::source_mac, "02:00:5e:00:53:ee"), "foreign-mac"));
  CHECK_FALSE(scene.passes_udp(changed(honest, &Ends::source_ip, "198.51.100.1"), "as-gateway"));
  CHECK_FALSE(scene.passes_udp({.source_mac = scene.mac, .source_ip = "2001:db8:100::bad", .target_ip = "ff02::1"},
                               "foreign-v6"));
  CHECK(scene.passes_arp(arp_request(honest)));
  CHECK_FALSE(scene.passes_arp(arp_reply(changed(honest, &Ends::source_ip, "198.51.100.1"))));
  // Its own address, which the network card is to turn into the gateway's, as if it were a checksum. A right one
  // passes.
  constexpr LeftChecksum kSenderIp{.start = 14 + 14, .offset = 0};
  constexpr LeftChecksum kUdp{.start = 14 + 20, .offset = 6};
  const Bytes own_name = arp_reply(honest);
  CHECK_FALSE(scene.passes(own_name, std::string(own_name.begin() + 12, own_name.begin() + 28), kSenderIp));
  CHECK(scene.passes(udp_frame(honest, 9, "right-one"), "right-one", kUdp));
  // An answer of a DHCP server.
  CHECK_FALSE(scene.passes(udp_frame(honest, 68, "dhcp-offer"), "dhcp-offer"));
  CHECK_FALSE(scene.passes(ether_frame(honest, 0x88cc, Bytes{'l', 'l', 'd', 'p'}), "lldp"));
  CHECK_FALSE(scene.passes(ether_frame(honest, 0x8100, Bytes{0, 7, 8, 0, 't', 'a', 'g'}), "tag"));
}

TEST_CASE("macvtap spoof: with DHCP, the MAC and the kind of frame") {
  const Host host;
  const Scene scene(dhcp_conf());
  const Ends honest = scene.honest();
  CHECK(scene.passes_udp(honest, "any-address"));
  CHECK(scene.passes_udp({.source_mac = scene.mac, .source_ip = "2001:db8:100::7", .target_ip = "ff02::1"}, "any-v6"));
  CHECK_FALSE(scene.passes_udp(changed(honest, &Ends::source_mac, "02:00:5e:00:53:ee"), "foreign-mac"));
  CHECK_FALSE(scene.passes(ether_frame(honest, 0x88cc, Bytes{'l', 'l', 'd', 'p'}), "lldp"));
}

TEST_CASE("macvtap spoof: switched off, whole or for addresses") {
  const Host host;
  SUBCASE("addresses") {
    const Scene scene(with(quick_conf(), "ipspoofchk", false));
    CHECK(scene.passes_udp(changed(scene.honest(), &Ends::source_ip, "198.51.100.99"), "foreign-v4"));
    CHECK_FALSE(scene.passes_udp(changed(scene.honest(), &Ends::source_mac, "02:00:5e:00:53:ee"), "foreign-mac"));
  }
  SUBCASE("whole") {
    const Scene scene(with(quick_conf(), "macspoofchk", false));
    CHECK(scene.passes_udp(changed(scene.honest(), &Ends::source_mac, "02:00:5e:00:53:ee"), "foreign-mac"));
  }
}
