// slicer-firewall behind slicer-macvtap: lists on the macvtap's egress, without connection tracking.
#include <doctest/doctest.h>

#include <cstdio>

#include "lib/net/netns.h"
#include "lib/netfilter/logged_packet.h"
#include "lib/netfilter/packet_log.h"
#include "lib/netfilter/vm_policy.h"
#include "tests/system/fixture/kill_at_syscall.h"
#include "tests/system/fixture/reach.h"
#include "tests/system/macvtap/lan_watch.h"
#include "tests/system/macvtap/macvtap_support.h"

using namespace slicer::test;
using namespace slicer::test::macvtap;

namespace {

constexpr uint16_t kPort = 7777;
constexpr uint16_t kOtherPort = 8888;
constexpr const char* kVmIp = "198.51.100.220";
constexpr const char* kVmIp6 = "2001:db8:100::dd";

/// A network of both families without the question whether an address is free.
Json both_conf() {
  Json conf = quick_conf();
  conf["ipam"] = {{"type", "slicer-ipam"},
                  {"ranges",
                   {{{{"gateway", "198.51.100.1/24"}}},
                    {{{"subnet", "2001:db8:100::/64"},
                      {"gateway", "2001:db8:100::1"},
                      {"rangeStart", kVmIp6},
                      {"rangeEnd", "2001:db8:100::df"}}}}}};
  return conf;
}

Json firewall_conf(const Json& lists, const Json& result, const std::string& name = "lan") {
  Json conf = {{"cniVersion", "1.1.0"}, {"name", name}, {"type", "slicer-firewall"}, {"prevResult", result}};
  conf.update(lists);
  return conf;
}

Answer firewall(const Json& lists, const Json& result, Call how, const std::string& command = "ADD") {
  how.command = command;
  return call_plugin("slicer-firewall", firewall_conf(lists, result), how);
}

bool can_list(const Vm& vm) {
  const Answer answer = firewall({{"drop", {"192.0.2.0/24"}}}, vm.result, vm.how);
  return answer.code() != 106;
}

class Scene {
 public:
  Scene() : vm(both_conf()) {
    for (const std::string& netns : {vm.guest.netns(), around.machine.path(), around.internet.path()})
      servers.push_back(std::make_unique<EchoServer>(netns, std::vector<uint16_t>{kPort, kOtherPort}));
  }
  void must_add(const Json& lists) const {
    const Answer answer = firewall(lists, vm.result, vm.how);
    INFO(answer.text());
    REQUIRE(answer.ok());
    CHECK(answer.json == vm.result);
    const Answer checked = firewall(lists, vm.result, vm.how, "CHECK");
    INFO(checked.text());
    CHECK(checked.ok());
  }
  [[nodiscard]] bool opens(Protocol protocol, const std::string& ip, uint16_t port = 0) const {
    return soon_reaches(vm.guest.netns(), {protocol, ip, port});
  }
  [[nodiscard]] bool closes(Protocol protocol, const std::string& ip, uint16_t port = 0) const {
    return !reaches(vm.guest.netns(), {protocol, ip, port});
  }
  [[nodiscard]] bool serves(Protocol protocol, const std::string& ip, uint16_t port = 0) const {
    return soon_reaches(around.machine.path(), {protocol, ip, port});
  }

  Surroundings around = {};
  Vm vm;
  std::vector<std::unique_ptr<EchoServer>> servers = {};
};

/// Frames of a guest, and what of them comes out on the LAN.
class Wire {
 public:
  explicit Wire(const Json& conf, const Json& lists)
      : box("box"), how(call_in("ADD", box)), result(add(conf, how)), lan(around.machine.path(), "lan0") {
    const Answer answer = firewall(lists, result, how);
    if (!answer.ok()) give_up(answer.text());
    guest = std::make_unique<RawGuest>(TapPlace{.tap = "tap0", .netns = box.path()});
    ends = {
        .source_mac = guest_entry(result, "vm-1")["mac"], .source_ip = kVmIp, .target_ip = Surroundings::kLanMachine};
  }
  [[nodiscard]] bool passes(const Bytes& frame, const std::string& marker) const {
    guest->send(frame);
    Ends open = ends;
    open.target_ip = "198.51.100.4";
    guest->send(udp_frame(open, 9, "that-was-all"));
    return lan.sees_before(marker, "that-was-all");
  }

  Surroundings around = {};
  Netns box;
  Call how;
  Json result;
  LanWatch lan;
  std::unique_ptr<RawGuest> guest = {};
  Ends ends = {};
};

/// With the length and checksum that its IPv4 header should have; bridges look at both.
Bytes sealed(Bytes frame) {
  const size_t header = size_t{frame[14]} % 16 * 4;
  const size_t length = frame.size() - 14;
  frame[16] = static_cast<uint8_t>(length >> 8);
  frame[17] = static_cast<uint8_t>(length);
  frame[24] = frame[25] = 0;
  uint32_t sum = 0;
  for (size_t i = 0; i < header; i += 2) sum += static_cast<uint32_t>(frame[14 + i] << 8 | frame[15 + i]);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = ~((sum & 0xffff) + (sum >> 16));
  frame[24] = static_cast<uint8_t>(sum >> 8);
  frame[25] = static_cast<uint8_t>(sum);
  return frame;
}

/// A TCP segment with `marker` for data; its own checksum does not matter here.
Bytes tcp_frame(const Ends& ends, uint8_t flags, const std::string& marker) {
  Bytes frame = udp_frame(ends, kPort, std::string(12, '\0') + marker);
  frame[14 + 9] = 6;           // the protocol
  frame[14 + 20 + 12] = 0x50;  // five words of header
  frame[14 + 20 + 13] = flags;
  return sealed(std::move(frame));
}

/// With one option, "router alert" (RFC 2113).
Bytes with_option(Bytes frame) {
  frame[14] = 0x46;
  frame.insert(frame.begin() + 34, {0x94, 0x04, 0x00, 0x00});
  return sealed(std::move(frame));
}

bool has_table(const Netns& box) { return run(words("nft list table netdev slicer-vm"), {.netns = box.path()}).ok(); }

}  // namespace

TEST_CASE("macvtap lists: drop closes what the VM begins, and the LAN still reaches the VM") {
  const Host host;
  const Scene scene;
  if (!can_list(scene.vm)) SLICER_SKIP("this kernel has no netdev egress hook");
  scene.must_add({{"drop", {"198.51.100.0/24"}}});
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
    CHECK(scene.closes(protocol, Surroundings::kLanMachine, kPort));
    CHECK(scene.opens(protocol, Surroundings::kInternet, kPort));
  }
  CHECK(scene.closes(Protocol::kIcmp, Surroundings::kLanMachine));
  CHECK(scene.opens(Protocol::kIcmp, Surroundings::kInternet));
  // What the VM answers: TCP and pings; a UDP answer cannot be told from a question.
  CHECK(scene.serves(Protocol::kTcp, kVmIp, kPort));
  CHECK(scene.serves(Protocol::kIcmp, kVmIp));
  CHECK_FALSE(reaches(scene.around.machine.path(), {Protocol::kUdp, kVmIp, kPort}));
  CHECK(scene.opens(Protocol::kTcp, Surroundings::kLanMachine6, kPort));  // 198.51.100.0/24 says nothing of IPv6
}

TEST_CASE("macvtap lists: allow alone leaves exactly that, in both families") {
  const Host host;
  const Scene scene;
  if (!can_list(scene.vm)) SLICER_SKIP("this kernel has no netdev egress hook");
  scene.must_add({{"allow", {"198.51.100.3:7777", "[2001:db8:100::3]:8888"}}});
  CHECK(scene.opens(Protocol::kTcp, Surroundings::kLanMachine, kPort));
  CHECK(scene.opens(Protocol::kUdp, Surroundings::kLanMachine, kPort));
  CHECK(scene.closes(Protocol::kTcp, Surroundings::kLanMachine, kOtherPort));
  CHECK(scene.closes(Protocol::kIcmp, Surroundings::kLanMachine));
  CHECK(scene.closes(Protocol::kTcp, Surroundings::kInternet, kPort));
  CHECK(scene.opens(Protocol::kTcp, Surroundings::kLanMachine6, kOtherPort));
  CHECK(scene.closes(Protocol::kTcp, Surroundings::kLanMachine6, kPort));
  // Neighbour discovery passes, and so do answers.
  CHECK(scene.serves(Protocol::kTcp, kVmIp6, kPort));
  CHECK(scene.serves(Protocol::kIcmp, kVmIp6));
}

TEST_CASE("macvtap lists: other lists replace them, none take them away, one VM may have its own") {
  const Host host;
  const Scene scene;
  if (!can_list(scene.vm)) SLICER_SKIP("this kernel has no netdev egress hook");
  scene.must_add({{"drop", {"0.0.0.0/0"}}});
  CHECK(scene.closes(Protocol::kTcp, Surroundings::kInternet, kPort));
  CHECK(scene.closes(Protocol::kTcp, Surroundings::kLanMachine6, kPort));  // never a way around
  scene.must_add({{"drop", {"0.0.0.0/0"}}, {"runtimeConfig", {{"policy", {{"drop", {"198.51.100.3:7777"}}}}}}});
  CHECK(scene.opens(Protocol::kTcp, Surroundings::kInternet, kPort));
  CHECK(scene.closes(Protocol::kTcp, Surroundings::kLanMachine, kPort));
  CHECK(scene.opens(Protocol::kTcp, Surroundings::kLanMachine, kOtherPort));
  scene.must_add(Json::object());
  CHECK(scene.opens(Protocol::kTcp, Surroundings::kLanMachine, kPort));
  CHECK_FALSE(has_table(scene.vm.box));
}

TEST_CASE("macvtap lists: one VM's hold for no other on its parent, and not for the next of its name") {
  const Host host;
  const Surroundings around;
  const Netns box("vm-1-box");
  const Vm other(quick_conf(), "vm-2");
  if (!can_list(other)) SLICER_SKIP("this kernel has no netdev egress hook");
  (void)firewall({{"drop", {"192.0.2.0/24"}}}, other.result, other.how, "DEL");
  const Json lists = {{"drop", {"0.0.0.0/0"}}};
  const Call how = call_in("ADD", box);
  const Json result = add(quick_conf(), how);
  REQUIRE(firewall(lists, result, how).ok());
  {
    const Guest guest(Guest::from_result(result, how, "first"));
    CHECK_FALSE(pings(guest.netns(), Surroundings::kLanMachine, 1));
    CHECK(other.pings(Surroundings::kLanMachine));
    CHECK_FALSE(has_table(other.box));
  }
  CHECK(firewall(lists, result, how, "DEL").ok());
  del(quick_conf(), how);
  const Json again = add(quick_conf(), how);  // same name, same namespace, no lists
  const Guest guest(Guest::from_result(again, how, "again"));
  CHECK(pings(guest.netns(), Surroundings::kLanMachine));
  CHECK_FALSE(has_table(box));
}

TEST_CASE("macvtap lists: packet by packet, as the LAN sees them") {
  const Host host;
  // macspoofchk off: the lists stand alone.
  const Wire wire(with(quick_conf(), "macspoofchk", false), {{"drop", {"198.51.100.3", "2001:db8:100::3"}}});
  constexpr uint8_t kFin = 1;
  constexpr uint8_t kSyn = 2;
  constexpr uint8_t kRst = 4;
  constexpr uint8_t kAck = 16;
  CHECK_FALSE(wire.passes(tcp_frame(wire.ends, kSyn, "syn-alone"), "syn-alone"));
  CHECK_FALSE(wire.passes(tcp_frame(wire.ends, kSyn | kFin, "syn-fin"), "syn-fin"));
  CHECK(wire.passes(tcp_frame(wire.ends, kSyn | kAck, "syn-ack"), "syn-ack"));
  CHECK(wire.passes(tcp_frame(wire.ends, kAck, "ack"), "ack"));
  CHECK(wire.passes(tcp_frame(wire.ends, kRst, "rst"), "rst"));
  Ends open = wire.ends;
  open.target_ip = "198.51.100.4";
  CHECK(wire.passes(udp_frame(open, 9, "open-udp"), "open-udp"));
  CHECK_FALSE(wire.passes(udp_frame(wire.ends, 9, "closed-udp"), "closed-udp"));
  SUBCASE("later fragments are judged by address alone") {
    Bytes fragment = tcp_frame(wire.ends, kAck, "fragment");
    fragment[14 + 7] = 4;  // 32 bytes in
    CHECK_FALSE(wire.passes(sealed(fragment), "fragment"));
    Bytes elsewhere = tcp_frame(open, kAck, "elsewhere");
    elsewhere[14 + 7] = 4;
    CHECK(wire.passes(sealed(elsewhere), "elsewhere"));
    // Within TCP's header it could write over flags that were looked at.
    for (const uint8_t units : {uint8_t{1}, uint8_t{2}}) {
      Bytes over = tcp_frame(open, kAck, "over");
      over[14 + 7] = units;
      CHECK_FALSE(wire.passes(sealed(over), "over"));
    }
    Bytes datagram = udp_frame(open, 9, "udp-part");
    datagram[14 + 7] = 1;
    CHECK(wire.passes(sealed(datagram), "udp-part"));
    // IPv6: the next header is a fragment's (44), which says that TCP follows, 32 bytes in.
    const Bytes segment(20, 0x10);
    Bytes six = udp_frame({.source_mac = wire.ends.source_mac, .source_ip = kVmIp6, .target_ip = "2001:db8:100::3"}, 9,
                          std::string(segment.begin(), segment.end()) + "v6-part");
    six[14 + 6] = 44;
    const Bytes header{6, 0, 0, 32, 0, 0, 0, 1};
    std::copy(header.begin(), header.end(), six.begin() + 14 + 40);
    CHECK_FALSE(wire.passes(six, "v6-part"));
    six[14 + 40 + 2] = six[14 + 40 + 3] = 0;  // the first one tells by its flags that it opens nothing
    CHECK(wire.passes(six, "v6-part"));
  }
  SUBCASE("no source routes past the lists, no other kinds of frames") {
    CHECK_FALSE(wire.passes(with_option(udp_frame(open, 9, "option")), "option"));
    CHECK_FALSE(wire.passes(ether_frame(open, 0x88cc, Bytes{'l', 'l', 'd', 'p'}), "lldp"));
    CHECK_FALSE(wire.passes(ether_frame(open, 0x8100, Bytes{0, 7, 8, 0, 't', 'a', 'g'}), "tag"));
  }
  SUBCASE("ARP, and DHCP to everybody") {
    const Bytes request = arp_request(wire.ends);
    CHECK(wire.passes(request, std::string(request.begin() + 20, request.begin() + 42)));
    Ends everybody = wire.ends;
    everybody.source_ip = "0.0.0.0";
    everybody.target_ip = "255.255.255.255";
    Bytes discover = udp_frame(everybody, 67, "discover");
    discover[14 + 20] = 0;  // from port 68
    discover[14 + 21] = 68;
    CHECK(wire.passes(discover, "discover"));
    Bytes unicast = udp_frame(wire.ends, 67, "tunnel");
    unicast[14 + 20] = 0;
    unicast[14 + 21] = 68;
    CHECK_FALSE(wire.passes(unicast, "tunnel"));
  }
}

TEST_CASE("macvtap lists: in DHCP mode, too") {
  const Host host;
  const Wire wire(dhcp_conf(), {{"drop", {"198.51.100.3"}}});
  Ends open = wire.ends;
  open.target_ip = "198.51.100.4";
  CHECK(wire.passes(udp_frame(open, 9, "open-udp"), "open-udp"));
  CHECK_FALSE(wire.passes(udp_frame(wire.ends, 9, "closed-udp"), "closed-udp"));
}

TEST_CASE("macvtap lists: what is dropped is told of, as the packet that it was") {
  const Host host;
  const Wire wire(quick_conf(), {{"drop", {"198.51.100.3"}}, {"log", true}});
  std::optional<slicer::netfilter::PacketLog> log;
  in_netns(wire.box.path(), [&] { log = slicer::netfilter::PacketLog::open(slicer::netfilter::kLogGroup).value(); });
  CHECK_FALSE(wire.passes(udp_frame(wire.ends, 9, "closed-udp"), "closed-udp"));
  std::string told;
  CHECK(eventually([&] {
    log->read([&](std::span<const uint8_t> message) {
      const auto packet = slicer::netfilter::parse_logged_packet(message);
      if (packet) told += packet->prefix + packet_text(*packet);
    });
    return !told.empty();
  }));
  CHECK(told == "slicer:lan udp 198.51.100.220:40000 -> 198.51.100.3:9");
}

TEST_CASE("macvtap lists: CHECK finds changes, DEL and GC leave nothing") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  const std::string before = snapshot({.netns = {box.path()}});
  const Call how = call_in("ADD", box);
  const Json result = add(dhcp_conf(), how);
  const Json lists = {{"drop", {"192.0.2.0/24", "192.0.2.7:443"}}, {"allow", {"192.0.2.9"}}, {"log", true}};
  const Answer added = firewall(lists, result, how);
  INFO(added.text());
  REQUIRE(added.ok());
  const auto check = [&] { return firewall(lists, result, how, "CHECK"); };
  REQUIRE(check().ok());
  SUBCASE("CHECK") {
    SUBCASE("the table") { (void)must("nft delete table netdev slicer-vm", box.path()); }
    SUBCASE("a rule") { (void)must("nft flush chain netdev slicer-vm egress", box.path()); }
    SUBCASE("a rule more") { (void)must("nft insert rule netdev slicer-vm egress counter accept", box.path()); }
    CHECK(check().code() == 105);
    CHECK(firewall({{"drop", {"192.0.2.0/25"}}}, result, how, "CHECK").code() == 105);
    REQUIRE(firewall(lists, result, how).ok());
    CHECK(check().ok());
  }
  SUBCASE("what `vm firewall` reads") {
    std::optional<slicer::netfilter::PolicyInForce> seen;
    in_netns(box.path(), [&] { seen = *slicer::netfilter::read_vm_policy(); });
    REQUIRE(seen);
    using slicer::netfilter::PolicyVerdict;
    const auto verdict = [&](const char* ip, std::optional<uint16_t> port) {
      return seen->policy.verdict_on(*slicer::addr::parse_ip(ip), port);
    };
    CHECK(verdict("192.0.2.1", 80) == PolicyVerdict::kDrop);
    CHECK(verdict("192.0.2.9", 80) == PolicyVerdict::kAllow);
    CHECK(verdict("198.51.100.3", std::nullopt) == PolicyVerdict::kAllow);
    CHECK(seen->log);
  }
  SUBCASE("GC") {
    const Json none = with(firewall_conf(lists, nullptr), "/cni.dev~1valid-attachments", Json::array());
    Json kept = none;
    kept["cni.dev/valid-attachments"] = {{{"containerID", "vm-1"}, {"ifname", "tap0"}}};
    CHECK(call_plugin("slicer-firewall", kept, {.command = "GC"}).ok());
    CHECK(has_table(box));
    CHECK(call_plugin("slicer-firewall", with(none, "name", "other"), {.command = "GC"}).ok());
    CHECK(has_table(box));
    CHECK(call_plugin("slicer-firewall", none, {.command = "GC"}).ok());
    CHECK_FALSE(has_table(box));
  }
  SUBCASE("the parent went first") { (void)must("ip link del lan0"); }
  for (int i = 0; i < 2; ++i) CHECK(firewall(lists, result, how, "DEL").ok());
  del(dhcp_conf(), how);
  if (run(words("ip link show lan0")).ok()) CHECK(difference(before, snapshot({.netns = {box.path()}})) == "");
  CHECK_FALSE(has_table(box));
}

TEST_CASE("macvtap lists: another attachment's table stays") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  const Call how = call_in("ADD", box);
  const Json result = add(dhcp_conf(), how);
  const Json lists = {{"drop", {"192.0.2.0/24"}}};
  REQUIRE(firewall(lists, result, how).ok());
  CHECK(firewall(lists, result, call_in("DEL", box, "vm-2"), "DEL").ok());
  CHECK(has_table(box));
}

TEST_CASE("macvtap lists: what cannot be is refused") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  const Call how = call_in("ADD", box);
  const Json result = add(dhcp_conf(), how);
  const Answer iptables = firewall({{"drop", {"192.0.2.0/24"}}, {"backend", "iptables"}}, result, how);
  CHECK(iptables.code() == 7);
  CHECK(iptables.msg() == "\"backend\": \"iptables\" cannot keep \"drop\" and \"allow\" on a macvtap");
  CHECK(iptables.json["details"] ==
        "its packets pass no chain of iptables: use \"nftables\", or \"auto\" by leaving the key out");
  const Answer ingress = firewall({{"ingressPolicy", "same-bridge"}}, result, how);
  CHECK(ingress.code() == 7);
  CHECK_FALSE(has_table(box));
  CHECK(firewall(Json::object(), result, how).ok());
  CHECK_FALSE(has_table(box));
}

TEST_CASE("macvtap lists: ADD killed at every system call, then DEL") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  const Call how = call_in("ADD", box);
  const Json result = add(dhcp_conf(), how);
  const Json lists = {{"drop", {"192.0.2.0/24"}}};
  const std::string before = snapshot({.netns = {box.path()}});
  const long rounds = kill_at_every_syscall(
      {.plugin = "slicer-firewall", .conf = firewall_conf(lists, result), .call = how, .step = 2}, [] {},
      [&](const KillOutcome& outcome) {
        INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
        CHECK(firewall(lists, result, how, "DEL").ok());
        CHECK(difference(before, snapshot({.netns = {box.path()}})) == "");
      });
  CHECK(rounds > 20);
}
