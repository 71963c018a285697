// lib/net's bridge ports on the real kernel.
#include <cstdio>

#include "lib/net/bridge_port.h"
#include "lib/net/link.h"
#include "lib/net/neighbour.h"
#include "lib/net/tap.h"
#include "tests/system/fixture/guest.h"
#include "tests/system/fixture/host.h"
#include "tests/system/fixture/process.h"
#include "tests/system/net/helpers.h"

using namespace slicer;
using namespace slicer::test;
using net::RouteSocket;

namespace {

constexpr const char* kMac = "02:00:5e:00:53:01";
constexpr const char* kMac2 = "02:00:5e:00:53:02";

struct Place {
  RouteSocket ns = got(RouteSocket::open());
  int bridge = got(net::create_bridge(ns, {.name = "slb0", .mac = mac_of("02:00:5e:00:53:fe")}));
  int port = got(net::create_tap(nullptr, ns, {.name = "vmtap0", .master = bridge}));
  int other = got(net::create_tap(nullptr, ns, {.name = "vmtap1", .master = bridge}));
};

}  // namespace

TEST_CASE("port: flags are set one by one and read back") {
  const Host host;
  Place at;
  got(net::set_port_flags(at.ns, at.port, {.isolated = true, .hairpin = true}));
  net::PortFlags flags = got(net::get_port_flags(at.ns, at.port));
  CHECK(flags.isolated == true);
  CHECK(flags.hairpin == true);
  CHECK(flags.learning == true);
  got(net::set_port_flags(at.ns, at.port, {.hairpin = false, .learning = false, .unicast_flood = false}));
  flags = got(net::get_port_flags(at.ns, at.port));
  CHECK(flags.isolated == true);
  CHECK(flags.hairpin == false);
  CHECK(flags.learning == false);
  CHECK(flags.unicast_flood == false);
  CHECK(refused(net::get_port_flags(at.ns, at.bridge)).kind == Kind::kNotFound);
  CHECK(refused(net::get_port_flags(at.ns, 4711)).kind == Kind::kNotFound);
}

TEST_CASE("port: locked where the kernel has it") {
  const Host host;
  Place at;
  if (!got(net::supports_locked(at.ns, at.port))) SLICER_SKIP("this kernel has no locked bridge ports (5.18)");
  got(net::set_port_flags(at.ns, at.port, {.locked = true}));
  CHECK(got(net::get_port_flags(at.ns, at.port)).locked == true);
}

TEST_CASE("port: a guest is attached by one send, and forgotten without a trace") {
  const Host host;
  Place at;
  const net::PortGuest guest{.port = at.port,
                             .bridge = at.bridge,
                             .mac = mac_of(kMac),
                             .ips = {ip_of("192.0.2.7"), ip_of("2001:db8::7")},
                             .flags = {.isolated = true}};
  for (int i = 0; i < 2; ++i) got(net::attach_port_guest(at.ns, guest));
  CHECK(got(net::find_fdb_port(at.ns, at.bridge, mac_of(kMac))) == at.port);
  CHECK(got(net::find_neighbour(at.ns, at.bridge, ip_of("2001:db8::7")))->mac == mac_of(kMac));
  CHECK(got(net::get_port_flags(at.ns, at.port)).isolated == true);
  for (int i = 0; i < 2; ++i) got(net::remove_port_guest(at.ns, guest));
  CHECK_FALSE(got(net::find_fdb_port(at.ns, at.bridge, mac_of(kMac))).has_value());
  CHECK(got(net::list_neighbours(at.ns, at.bridge)).empty());
}

TEST_CASE("port: a guest on what is no port is refused") {
  const Host host;
  Place at;
  got(net::set_link(at.ns, at.other, {.master = 0}));
  const Error error =
      refused(net::attach_port_guest(at.ns, {.port = at.other, .bridge = at.bridge, .mac = mac_of(kMac)}));
  CHECK(error.message.find("set FDB entry '02:00:5e:00:53:01' of bridge port ") == 0);
}

TEST_CASE("port: a static entry moves by our hand only, never by a frame from another port") {
  const Host host;
  Place at;
  got(net::ensure_fdb_entry(at.ns, at.port, mac_of(kMac)));
  {
    const RawGuest thief({.tap = "vmtap1"});
    const RawGuest victim({.tap = "vmtap0"});
    wait_for_forwarding({"vmtap0", "vmtap1"});
    thief.send(arp_request({.source_mac = kMac, .source_ip = "192.0.2.9", .target_ip = "192.0.2.1"}));
    // Seen on the victim's side: the bridge has worked on it.
    CHECK(victim.receive([](const Bytes& frame) { return frame.size() >= 42 && frame[13] == 6; }).has_value());
    CHECK(got(net::find_fdb_port(at.ns, at.bridge, mac_of(kMac))) == at.port);
  }
  got(net::ensure_fdb_entry(at.ns, at.other, mac_of(kMac)));
  CHECK(got(net::find_fdb_port(at.ns, at.bridge, mac_of(kMac))) == at.other);
  for (int i = 0; i < 2; ++i) got(net::delete_fdb_entry(at.ns, at.other, mac_of(kMac)));
  CHECK_FALSE(got(net::find_fdb_port(at.ns, at.bridge, mac_of(kMac))).has_value());
}

TEST_CASE("port: neighbours whose port is gone are dead, others' and live ones stay") {
  const Host host;
  Place at;
  got(net::attach_port_guest(
      at.ns,
      {.port = at.port, .bridge = at.bridge, .mac = mac_of(kMac), .ips = {ip_of("192.0.2.7"), ip_of("2001:db8::7")}}));
  got(net::attach_port_guest(
      at.ns, {.port = at.other, .bridge = at.bridge, .mac = mac_of(kMac2), .ips = {ip_of("192.0.2.8")}}));
  (void)must("ip neigh add 192.0.2.9 lladdr 02:00:5e:00:53:09 dev slb0 nud permanent");
  CHECK(got(net::remove_dead_neighbours(at.ns, at.bridge)) == 0);
  got(net::delete_link(at.ns, at.port));
  CHECK(got(net::remove_dead_neighbours(at.ns, at.bridge)) == 2);
  CHECK(got(net::find_neighbour(at.ns, at.bridge, ip_of("192.0.2.8"))).has_value());
  CHECK(got(net::find_neighbour(at.ns, at.bridge, ip_of("192.0.2.9"))).has_value());
}

TEST_CASE("port: the ports of one bridge are listed") {
  const Host host;
  Place at;
  const int second = got(net::create_bridge(at.ns, {.name = "slb1"}));
  got(net::set_link(at.ns, at.other, {.master = second}));
  CHECK(got(net::list_ports(at.ns, at.bridge)) == std::vector{at.port});
}

TEST_CASE("port: the 1,024th port of a bridge is refused and says why") {
  const Host host;
  RouteSocket ns = got(RouteSocket::open());
  const int bridge = got(net::create_bridge(ns, {.name = "slb0"}));
  for (unsigned i = 0; i < net::kBridgePortsMax; i += 2) {
    const std::string a = "slv" + std::to_string(i), b = "slv" + std::to_string(i + 1);
    (void)got(net::create_veth(ns, {.here = {.name = a}, .master = bridge, .peer = {.name = b, .up = false}}));
    if (i + 1 < net::kBridgePortsMax) got(net::set_link(ns, got(net::get_link_index(ns, b)), {.master = bridge}));
  }
  CHECK(got(net::list_ports(ns, bridge)).size() == net::kBridgePortsMax);
  const Error tap = refused(net::create_tap(nullptr, ns, {.name = "vmtap0", .master = bridge}));
  CHECK(tap.kind == Kind::kExhausted);
  CHECK(tap.hint.find("1023 ports") != std::string::npos);
  CHECK_FALSE(got(net::find_link_index(ns, "vmtap0")).has_value());
  const Error veth =
      refused(net::create_veth(ns, {.here = {.name = "last-a"}, .master = bridge, .peer = {.name = "last-b"}}));
  CHECK(veth.kind == Kind::kExhausted);
  CHECK_FALSE(got(net::find_link_index(ns, "last-a")).has_value());
}

TEST_CASE("port: VLANs, or a missing kernel feature with a hint") {
  const Host host;
  Place at;
  const Result<void> added = net::add_vlan(at.ns, at.port, {.id = 100, .pvid = true, .untagged = true});
  if (!added) {
    CHECK(added.error().kind == Kind::kUnsupportedKernel);
    CHECK(added.error().hint.find("CONFIG_BRIDGE_VLAN_FILTERING") != std::string::npos);
    return;
  }
  CHECK(must("bridge vlan show dev vmtap0").find("100 PVID") != std::string::npos);
  got(net::delete_vlan(at.ns, at.port, {.id = 100}));
}
