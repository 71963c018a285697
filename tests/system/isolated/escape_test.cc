// Attempts to get out, or in, frame by frame.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstring>

#include "tests/system/isolated/isolated_support.h"

using namespace slicer;
using namespace slicer::test;
using namespace slicer::test::isolated;

namespace {

/// Sees every frame of a link of the host.
class Tapped {
 public:
  explicit Tapped(const std::string& link) : fd_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL))) {
    sockaddr_ll place = {};
    place.sll_family = AF_PACKET;
    place.sll_protocol = htons(ETH_P_ALL);
    place.sll_ifindex = static_cast<int>(if_nametoindex(link.c_str()));
    if (!fd_.valid() || bind(fd_.get(), reinterpret_cast<const sockaddr*>(&place), sizeof(place)) != 0)
      give_up("listen on " + link);
  }
  /// Whether a frame with `marker` in it comes by.
  [[nodiscard]] bool sees(const std::string& marker, int milliseconds = 200) const {
    std::vector<char> buffer(65536);
    pollfd ready{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    while (poll(&ready, 1, milliseconds) > 0) {
      const ssize_t n = recv(fd_.get(), buffer.data(), buffer.size(), 0);
      if (n > 0 && std::string(buffer.data(), static_cast<size_t>(n)).find(marker) != std::string::npos) return true;
    }
    return false;
  }

 private:
  UniqueFd fd_;
};

/// One VM whose frames the test makes.
struct Scene {
  Scene()
      : box("box"),
        result(add(sandbox_conf(), call_in("ADD", box))),
        guest(TapPlace{.tap = "tap0", .netns = box.path()}),
        outside(result["interfaces"][0]["name"].get<std::string>()) {
    ends = {.source_mac = result["interfaces"][2]["mac"],
            .target_mac = result["interfaces"][1]["mac"],
            .source_ip = ip_of(result, 4),
            .target_ip = Surroundings::kInternet};
  }
  [[nodiscard]] bool gets_out(const Bytes& frame, const std::string& marker) const {
    guest.send(frame);
    return outside.sees(marker);
  }

  Netns box;
  Json result;
  RawGuest guest;
  Tapped outside;
  Ends ends;
};

/// The header checksum of an IPv4 packet of `words` 32-bit words that begins at `at`, put right.
void mend_checksum(Bytes& frame, size_t at, size_t words) {
  frame[at + 10] = frame[at + 11] = 0;
  uint32_t sum = 0;
  for (size_t i = 0; i < words * 2; ++i) sum += static_cast<uint32_t>(frame[at + 2 * i]) << 8 | frame[at + 2 * i + 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  frame[at + 10] = static_cast<uint8_t>(~sum >> 8);
  frame[at + 11] = static_cast<uint8_t>(~sum);
}

/// The packet with options of whole words behind its header.
Bytes with_options(Bytes frame, const Bytes& options) {
  constexpr size_t kHeader = 14;
  frame.insert(frame.begin() + kHeader + 20, options.begin(), options.end());
  const size_t words = 5 + options.size() / 4;
  frame[kHeader] = static_cast<uint8_t>(0x40 | words);
  const size_t total = frame.size() - kHeader;
  frame[kHeader + 2] = static_cast<uint8_t>(total >> 8);
  frame[kHeader + 3] = static_cast<uint8_t>(total);
  mend_checksum(frame, kHeader, words);
  return frame;
}

/// The frame with VLAN tags in it, outermost first.
Bytes tagged(Bytes frame, const std::vector<uint16_t>& types) {
  Bytes tags;
  for (const uint16_t type : types) {
    tags.push_back(static_cast<uint8_t>(type >> 8));
    tags.push_back(static_cast<uint8_t>(type));
    tags.push_back(0);
    tags.push_back(5);
  }
  frame.insert(frame.begin() + 12, tags.begin(), tags.end());
  return frame;
}

Ends changed(Ends ends, std::string Ends::* what, const std::string& value) {
  ends.*what = value;
  return ends;
}

}  // namespace

TEST_CASE("isolated escape: only what is honest gets out of the namespace") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const Scene scene;
  const auto udp = [&](const Ends& ends, const std::string& marker) { return udp_frame(ends, 9, marker); };
  REQUIRE(scene.gets_out(udp(scene.ends, "honest-one"), "honest-one"));

  const auto closed = [&](const Bytes& frame, const std::string& marker) {
    CAPTURE(marker);
    CHECK_FALSE(scene.gets_out(frame, marker));
  };
  closed(udp(changed(scene.ends, &Ends::source_mac, "02:00:5e:00:53:ee"), "foreign-mac"), "foreign-mac");
  closed(udp(changed(scene.ends, &Ends::source_ip, "169.254.100.6"), "neighbour-source"), "neighbour-source");
  closed(udp(changed(scene.ends, &Ends::source_ip, "198.51.100.2"), "host-source"), "host-source");
  closed(udp(changed(scene.ends, &Ends::source_ip, "0.0.0.0"), "no-source"), "no-source");
  closed(udp(changed(scene.ends, &Ends::source_ip, "127.0.0.1"), "loop-source"), "loop-source");
  closed(udp(changed(scene.ends, &Ends::target_ip, "255.255.255.255"), "broadcast"), "broadcast");
  closed(udp(changed(scene.ends, &Ends::target_ip, "224.0.0.251"), "multicast"), "multicast");
  closed(udp(changed(scene.ends, &Ends::target_ip, "169.254.169.254"), "metadata"), "metadata");
  closed(udp(changed(scene.ends, &Ends::target_ip, "169.254.1.1"), "next-hop"), "next-hop");
  closed(udp(changed(scene.ends, &Ends::target_ip, "169.254.100.6"), "other-vm"), "other-vm");
  closed(udp(changed(scene.ends, &Ends::target_ip, "127.0.0.1"), "loop-target"), "loop-target");
  closed(udp(changed(scene.ends, &Ends::target_ip, Surroundings::kHost), "host-target"), "host-target");

  Ends v6 = scene.ends;
  v6.source_ip = "2001:db8::1";
  v6.target_ip = Surroundings::kInternet6;
  closed(udp(v6, "v6-global"), "v6-global");
  v6.source_ip = "fe80::1";
  closed(udp(v6, "v6-link-local"), "v6-link-local");
  v6.target_mac = "33:33:00:00:00:01";
  v6.target_ip = "ff02::1";
  closed(udp(v6, "v6-multicast"), "v6-multicast");

  const Bytes plain = udp(scene.ends, "tagged-one");
  closed(tagged(plain, {0x8100}), "tagged-one");
  closed(tagged(plain, {0x88a8, 0x8100}), "tagged-one");
  for (const uint16_t type : std::initializer_list<uint16_t>{0x88cc, 0x8863, 0x0842, 0x88f7})
    closed(ether_frame(scene.ends, type, {'e', 't', 'h', 'e', 'r', '-', 'x'}), "ether-x");

  // RFC 791: loose and strict source route, record route, timestamp, and an option that nobody knows.
  const auto in = [](const std::string& ip) { return ip4_bytes(ip); };
  const auto hop = in(Surroundings::kRouter);
  for (const uint8_t option : std::initializer_list<uint8_t>{131, 137, 7}) {
    const Bytes route{option, 7, 4, hop[0], hop[1], hop[2], hop[3], 0};
    closed(with_options(udp(scene.ends, "source-route"), route), "source-route");
  }
  closed(with_options(udp(scene.ends, "router-alert"), {148, 4, 0, 0}), "router-alert");
}

TEST_CASE("isolated escape: fragments are judged as the packet that they make") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const Scene scene;
  const auto fragments = [&](const std::string& target, const std::string& marker) {
    const Bytes whole = udp_frame(changed(scene.ends, &Ends::target_ip, target), 9, std::string(24, 'f') + marker);
    Bytes first(whole.begin(), whole.begin() + 14 + 20 + 16);
    Bytes second(whole.begin(), whole.begin() + 14 + 20);
    second.insert(second.end(), whole.begin() + 14 + 20 + 16, whole.end());
    first[14 + 3] = 20 + 16;
    first[14 + 6] = 0x20;  // more fragments
    second[14 + 3] = static_cast<uint8_t>(second.size() - 14);
    second[14 + 7] = 2;  // 16 bytes further on
    for (Bytes* part : {&first, &second}) {
      (*part)[14 + 2] = 0;
      mend_checksum(*part, 14, 5);
    }
    scene.guest.send(first);
    return scene.gets_out(second, marker);
  };
  CHECK(fragments(Surroundings::kInternet, "in-two-parts"));
  CHECK_FALSE(fragments(Surroundings::kHost, "host-in-parts"));
  CHECK_FALSE(fragments("169.254.169.254", "metadata-in-parts"));
}

TEST_CASE("isolated escape: nobody's neighbour entries can be poisoned") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const Scene scene;
  const auto state = [&] {
    return must("ip neigh show nud permanent") + must("ip neigh show", scene.box.path()) + must("ip neigh show");
  };
  REQUIRE(scene.gets_out(udp_frame(scene.ends, 9, "warm"), "warm"));
  const std::string before = state();
  for (const char* claimed : {"169.254.100.1", "169.254.1.1", "169.254.100.6", Surroundings::kRouter}) {
    Ends lie = scene.ends;
    lie.source_ip = claimed;
    lie.target_ip = "169.254.100.1";
    scene.guest.send(arp_reply(lie));
    scene.guest.send(arp_request(lie));
    lie.source_mac = "02:00:5e:00:53:ee";
    scene.guest.send(arp_reply(lie));
  }
  // An honest packet behind them has been looked at after them.
  REQUIRE(scene.gets_out(udp_frame(scene.ends, 9, "behind"), "behind"));
  CHECK(state() == before);
}

TEST_CASE("isolated escape: ARP is answered for the gateway alone") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const Scene scene;
  const auto answered = [&](const std::string& target) {
    Ends question = scene.ends;
    question.target_mac = "ff:ff:ff:ff:ff:ff";
    question.target_ip = target;
    scene.guest.send(arp_request(question));
    return scene.guest
        .receive([](const Bytes& frame) { return frame[12] == 8 && frame[13] == 6 && frame[21] == 2; },
                 std::chrono::milliseconds(250))
        .has_value();
  };
  CHECK(answered("169.254.100.1"));
  for (const char* other : {"169.254.1.1", "169.254.100.3", "169.254.100.5", Surroundings::kHost, "203.0.113.9"}) {
    CAPTURE(other);
    CHECK_FALSE(answered(other));
  }
}

TEST_CASE("isolated escape: a connection from inside opens no other way in") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const Vm vm(sandbox_conf());
  (void)must("ip route add 169.254.100.0/22 via 198.51.100.2", around.machine.path());
  (void)must("ip route add 169.254.100.0/22 via 203.0.113.1", around.internet.path());
  (void)must("ip route add 169.254.100.0/22 via 198.51.100.2", around.router.path());
  const Background steady({"ping", "-i", "0.2", Surroundings::kLanMachine}, vm.guest.netns());
  REQUIRE(vm.pings(Surroundings::kLanMachine));
  CHECK_FALSE(pings(around.machine.path(), vm.ip()));
  CHECK_FALSE(pings(around.internet.path(), vm.ip()));
  CHECK_FALSE(pings(Host::netns(), vm.ip()));
  CHECK(pings(vm.box.path(), vm.ip()));  // through the namespace: port forwards
}

TEST_CASE("isolated escape: a port that the host publishes is closed, by whatever table it is translated") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  (void)must("nft add table ip docker");
  (void)must("nft add chain ip docker pre { type nat hook prerouting priority dstnat ; }");
  (void)must("nft add rule ip docker pre ip daddr 198.51.100.2 udp dport 9 dnat to 203.0.113.9:9");
  const Scene scene;
  const Tapped lan("lan0");
  SUBCASE("by the namespace and the host") {}
  SUBCASE("by the host alone") { drop_rules(scene.box.path()); }
  scene.guest.send(udp_frame(scene.ends, 9, "plain-way"));
  REQUIRE(lan.sees("plain-way"));
  scene.guest.send(udp_frame(changed(scene.ends, &Ends::target_ip, Surroundings::kHost), 9, "published"));
  CHECK_FALSE(lan.sees("published"));
}

TEST_CASE("isolated escape: an address that is translated to the host's own is closed at input") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  (void)must("nft add table ip services");
  (void)must("nft add chain ip services pre { type nat hook prerouting priority dstnat ; }");
  (void)must("nft add rule ip services pre ip daddr 203.0.113.50 dnat to 198.51.100.2");
  around.route_to_vms("203.0.113.50/32");
  const Vm vm(sandbox_conf());
  CHECK(pings(around.machine.path(), "203.0.113.50"));
  CHECK_FALSE(vm.pings("203.0.113.50"));
}

TEST_CASE("isolated escape: IPv6 is closed even where the namespace lets it through") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const Vm vm(sandbox_conf());
  const std::string end = vm.result["interfaces"][0]["name"];
  const std::string uplink = "slu" + end.substr(3);
  drop_rules(vm.box.path());
  (void)must("sysctl -qw net.ipv6.conf." + uplink + ".disable_ipv6=0", vm.box.path());
  (void)must("ip addr add 2001:db8:7::2/64 dev " + uplink + " nodad", vm.box.path());
  (void)must("ip -6 route add default dev " + uplink, vm.box.path());
  for (const std::string to : {Surroundings::kHost6, Surroundings::kInternet6})
    (void)must("ip -6 neigh add " + to + " lladdr " + vm.result["interfaces"][0]["mac"].get<std::string>() + " dev " +
                   uplink + " nud permanent",
               vm.box.path());
  SUBCASE("the link has none") {}
  SUBCASE("somebody switches it on again") {
    (void)must("sysctl -qw net.ipv6.conf." + end + ".disable_ipv6=0");
    (void)must("ip -6 route add 2001:db8:7::/64 dev " + end);
  }
  Host::sysctl("net/ipv6/conf/all/forwarding", "1");
  const Tapped lan("lan0");
  CHECK_FALSE(pings(vm.box.path(), Surroundings::kHost6));
  (void)run(words("ping -6 -c 1 -W 1 -s 64 -p 6d61726b6572 2001:db8:113::9"), {.netns = vm.box.path()});
  CHECK_FALSE(lan.sees("markermarker"));
}
