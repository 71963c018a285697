// The anti-spoofing filter and the tc redirect on the real kernel, with frames as a guest's hypervisor writes them.
#include <cstdio>

#include "lib/net/link.h"
#include "lib/net/tap.h"
#include "lib/net/tc_guard.h"
#include "lib/net/tc_redirect.h"
#include "tests/system/fixture/guest.h"
#include "tests/system/fixture/host.h"
#include "tests/system/fixture/process.h"
#include "tests/system/net/helpers.h"
#include "tests/unit/net/guard_frames.h"

using namespace slicer;
using namespace slicer::test;
using net::RouteSocket;

namespace {

/// Two TAPs on a bridge: what passes the guard of vmtap0 arrives at vmtap1, since all frames here go to all.
struct Place {
  RouteSocket ns = got(RouteSocket::open());
  int bridge = got(net::create_bridge(ns, {.name = "slb0"}));
  int port = got(net::create_tap(nullptr, ns, {.name = "vmtap0", .master = bridge}));
  int other = got(net::create_tap(nullptr, ns, {.name = "vmtap1", .master = bridge}));
};

/// With bridge-nf-call-iptables the bridge cuts padding off IP frames, by which these tests tell them apart.
void leave_frames_alone() {
  for (const char* key : {"iptables", "ip6tables", "arptables"})
    if (const std::string name = std::string("net/bridge/bridge-nf-call-") + key; !Host::sysctl(name).empty())
      Host::sysctl(name, "0");
}

/// The guests at both TAPs, on a bridge that passes on whatever it gets.
struct Wire {
  Wire() {
    // The bridge looks at multicast itself, and takes what is malformed away.
    Host::sysctl("net/ipv6/conf/slb0/disable_ipv6", "1");
    (void)must("ip link set slb0 type bridge mcast_snooping 0");
    leave_frames_alone();
    wait_for_forwarding({"vmtap0", "vmtap1"});
  }
  RawGuest guest{{.tap = "vmtap0"}};
  RawGuest other{{.tap = "vmtap1"}};
};

/// A frame that every guard of these tests lets through, to tell that all before it has been worked on.
Bytes marker() { return arp_frame({.sender_ip = "192.0.2.7", .operation = 2}); }

/// Whether something comes out at `to`, before the marker that `from` sends, that `is_it` knows.
template <class IsIt>
bool comes_before_marker(const RawGuest& from, const RawGuest& to, const IsIt& is_it) {
  from.send(marker());
  bool seen = false;
  const auto end = to.receive(
      [&](const Bytes& each) {
        seen = seen || is_it(each);
        return each == marker();
      },
      std::chrono::seconds(5));
  REQUIRE(end.has_value());
  return seen;
}

/// Whether `frame` comes out at `to` after `from` sent it. It is told apart by its last bytes.
bool arrives(const RawGuest& from, const RawGuest& to, Bytes frame) {
  frame.push_back(0xab);
  from.send(frame);
  return comes_before_marker(from, to, [&](const Bytes& each) { return each == frame; });
}

}  // namespace

TEST_CASE("guard: the kernel passes and drops what the program's tests say") {
  const Host host;
  Place at;
  const Wire wire;
  for (const GuardCase& each : guard_cases()) {
    // Without a guard all of them arrive: the test sees what it claims to see. (STP's frames are for no other port.)
    CAPTURE(each.what);
    CHECK(arrives(wire.guest, wire.other, each.frame));
  }
  got(net::ensure_guard(at.ns, at.port, guarded_guest()));
  for (const GuardCase& each : guard_cases()) {
    CAPTURE(each.what);
    CHECK(arrives(wire.guest, wire.other, each.frame) == each.passes);
  }
  got(net::delete_guard(at.ns, at.port));
  CHECK(arrives(wire.guest, wire.other, ipv4_frame("192.0.2.9")));
}

TEST_CASE("guard: a tagged frame passes only where tags are allowed") {
  const Host host;
  Place at;
  const RawGuest guest({.tap = "vmtap0"});
  const RawGuest other({.tap = "vmtap1"});
  leave_frames_alone();
  wait_for_forwarding({"vmtap0", "vmtap1"});
  const Bytes plain = ipv4_frame("192.0.2.7");
  Bytes tagged(plain.begin(), plain.begin() + 12);
  tagged.insert(tagged.end(), {0x81, 0x00, 0x00, 0x05});
  tagged.insert(tagged.end(), plain.begin() + 12, plain.end());
  net::GuardSpec spec = guarded_guest();
  got(net::ensure_guard(at.ns, at.port, spec));
  CHECK_FALSE(arrives(guest, other, tagged));
  spec.allow_vlan_tags = true;
  got(net::ensure_guard(at.ns, at.port, spec));
  CHECK(arrives(guest, other, tagged));
}

TEST_CASE("guard: is replaced in place, compared to the letter, and removed once") {
  const Host host;
  Place at;
  net::GuardSpec spec = guarded_guest();
  CHECK_FALSE(got(net::has_guard(at.ns, at.port, spec)));
  got(net::delete_guard(at.ns, at.port));
  for (int i = 0; i < 2; ++i) got(net::ensure_guard(at.ns, at.port, spec));
  CHECK(got(net::has_guard(at.ns, at.port, spec)));
  CHECK_FALSE(got(net::has_guard(at.ns, at.other, spec)));
  spec.sources.pop_back();
  CHECK_FALSE(got(net::has_guard(at.ns, at.port, spec)));
  got(net::ensure_guard(at.ns, at.port, spec));
  CHECK(got(net::has_guard(at.ns, at.port, spec)));
  CHECK(words(must("tc filter show dev vmtap0 ingress")).size() > 0);
  for (int i = 0; i < 2; ++i) got(net::delete_guard(at.ns, at.port));
  CHECK_FALSE(got(net::has_guard(at.ns, at.port, spec)));
  CHECK(refused(net::ensure_guard(at.ns, 4711, spec)).kind == Kind::kNotFound);
}

namespace {

/// A frame whose checksum the guest leaves to the host.
struct ChecksumCase {
  std::string what = {};
  FrameBytes frame = {};
  LeftChecksum checksum = {};
  bool passes = false;
};

FrameBytes ip4(int protocol, int fragment = 0) {
  FrameWriter w;
  w.ether(kOwnMac, 0x0800).raw({0x45, 0, 0, 60, 0, 1}).half(fragment).raw({64, protocol, 0, 0}).ip("192.0.2.7");
  return w.ip("192.0.2.1").half(1234).half(53).raw({0, 40, 0, 0}).zeros(40).done();
}

FrameBytes ip6(int next_header, std::initializer_list<int> headers = {}) {
  FrameWriter w = ipv6_frame("2001:db8::7", next_header, static_cast<int>(40 + headers.size()));
  return w.raw(headers).raw({128, 0, 0, 0, 0, 40, 0, 0}).zeros(32).done();
}

// RFC 8200, section 4.6: options of eight bytes before TCP.
constexpr std::initializer_list<int> kOptionsBeforeTcp{6, 0, 1, 4, 0, 0, 0, 0};

std::vector<ChecksumCase> checksum_cases() {
  const uint16_t v4 = 14 + 20;
  const uint16_t v6 = 14 + 40;
  return {{"TCP", ip4(6), {v4, 16}, true},
          {"UDP", ip4(17), {v4, 6}, true},
          {"SCTP", ip4(132), {v4, 8}, true},
          {"TCP, IPv6", ip6(6), {v6, 16}, true},
          {"UDP, IPv6", ip6(17), {v6, 6}, true},
          {"TCP behind options", ip6(60, kOptionsBeforeTcp), {v6 + 8, 16}, true},
          {"TCP in a UDP tunnel", ip4(17), {v4 + 8 + 8, 16}, true},
          {"TCP in GRE", ip4(47), {v4 + 4 + 8, 16}, true},
          {"the sender of an ARP frame", arp_frame({}), {28, 0}, false},
          {"behind an ARP frame", arp_frame({}), {14 + 28, 0}, false},
          {"an ICMP type", ip4(1), {v4, 0}, false},
          {"an ICMPv6 type", ip6(58), {v6, 0}, false},
          {"an ICMPv6 type behind options", ip6(60, {58, 0, 1, 4, 0, 0, 0, 0}), {v6 + 8, 0}, false},
          {"IGMP", ip4(2), {v4, 2}, false},
          {"a fragment", ip4(17, 0x2000), {v4, 6}, false},
          {"a fragment, IPv6", ip6(44, {17, 0, 0, 1, 0, 0, 0, 1}), {v6 + 8, 6}, false}};
}

/// Whether the frame comes out at `to`. By its length, since the host changes it.
bool comes_out(const RawGuest& from, const RawGuest& to, const ChecksumCase& one) {
  from.send(one.frame, one.checksum);
  return comes_before_marker(from, to,
                             [&](const Bytes& each) { return each != marker() && each.size() == one.frame.size(); });
}

}  // namespace

TEST_CASE("guard: what nobody leaves to the host to finish is dropped, TCP and UDP are not") {
  const Host host;
  Place at;
  const Wire wire;
  for (const ChecksumCase& each : checksum_cases()) {
    CAPTURE(each.what);
    CHECK(comes_out(wire.guest, wire.other, each));
  }
  got(net::ensure_guard(at.ns, at.port, guarded_guest()));
  for (const ChecksumCase& each : checksum_cases()) {
    CAPTURE(each.what);
    CHECK(comes_out(wire.guest, wire.other, each) == each.passes);
  }
  // CHECK finds it when somebody takes it away.
  CHECK(got(net::has_guard(at.ns, at.port, guarded_guest())));
  CHECK(got(net::has_checksum_filter(at.ns, at.port)));
  (void)must("tc filter del dev vmtap0 ingress prio 1 handle 0x2 bpf");
  CHECK_FALSE(got(net::has_checksum_filter(at.ns, at.port)));
  CHECK_FALSE(got(net::has_guard(at.ns, at.port, guarded_guest())));
}

TEST_CASE("redirect: frames go both ways between a veth and a TAP, and spoofed ones are stopped before it") {
  const Host host;
  const slicer::test::Netns vm("vm");
  const net::Netns there = got(net::Netns::open(vm.path()));
  RouteSocket ns = got(RouteSocket::open());
  RouteSocket inside = got(RouteSocket::open_in(there));
  const int bridge = got(net::create_bridge(ns, {.name = "slb0"}));
  (void)got(
      net::create_veth(ns, {.here = {.name = "slv0"}, .master = bridge, .peer = {.name = "slx0"}, .peer_ns = &there}));
  const int veth = got(net::get_link_index(inside, "slx0"));
  const int tap = got(net::create_tap(&there, inside, {.name = "tap0"}));
  (void)got(net::create_tap(nullptr, ns, {.name = "vmtap1", .master = bridge}));
  leave_frames_alone();
  CHECK_FALSE(got(net::has_redirect(inside, tap, veth)));
  for (int i = 0; i < 2; ++i) got(net::ensure_redirect_pair(inside, tap, veth));
  CHECK(got(net::has_redirect(inside, tap, veth)));
  CHECK(got(net::has_redirect(inside, veth, tap)));
  CHECK_FALSE(got(net::has_redirect(inside, veth, veth)));
  got(net::ensure_guard(inside, tap, guarded_guest()));
  const RawGuest guest({.tap = "tap0", .netns = vm.path()});
  const RawGuest other({.tap = "vmtap1"});
  wait_for_forwarding({"slv0", "vmtap1"});
  CHECK(arrives(guest, other, ipv4_frame("192.0.2.7")));
  CHECK_FALSE(arrives(guest, other, ipv4_frame("192.0.2.9")));
  CHECK(arrives(other, guest, ipv4_frame("192.0.2.9", kOtherMac)));
  got(net::delete_guard(inside, tap));
  CHECK(arrives(guest, other, ipv4_frame("192.0.2.9")));  // the redirect stands on its own
  for (int i = 0; i < 2; ++i) got(net::delete_redirect(inside, tap));
  CHECK_FALSE(got(net::has_redirect(inside, tap, veth)));
  CHECK(got(net::has_redirect(inside, veth, tap)));
}

TEST_CASE("redirect: a link that is gone is not found") {
  const Host host;
  Place at;
  CHECK(refused(net::ensure_redirect_pair(at.ns, at.port, 4711)).kind == Kind::kNotFound);
  CHECK_FALSE(got(net::has_redirect(at.ns, 4711, at.port)));
  got(net::delete_redirect(at.ns, 4711));
}
