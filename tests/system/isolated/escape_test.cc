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
#include <fstream>
#include <functional>
#include <iterator>

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
  /// Sends `last` and returns all that came by up to it.
  [[nodiscard]] std::string seen_until(const RawGuest& guest, const Bytes& last, const std::string& marker) const {
    guest.send(last);
    std::string all;
    std::vector<char> buffer(65536);
    pollfd ready{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    while (all.find(marker) == std::string::npos && poll(&ready, 1, 5000) > 0) {
      const ssize_t n = recv(fd_.get(), buffer.data(), buffer.size(), 0);
      if (n > 0) all.append(buffer.data(), static_cast<size_t>(n));
    }
    return all;
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

/// What the guest tries, in the words of the docs.
struct Attempt {
  std::string name = {};
  std::vector<Bytes> frames = {};
  std::string marker = {};  ///< in the last frame, to be seen when it gets out
};

/// An IPv6 packet with an extension header of eight bytes before its payload.
Bytes with_extension(Bytes frame, uint8_t type, uint8_t first, uint8_t second) {
  constexpr size_t kHeader = 14;
  constexpr size_t kNext = kHeader + 6;
  const Bytes extension{frame[kNext], 0, first, second, 0, 0, 0, 0};
  frame[kNext] = type;
  frame[kHeader + 5] = static_cast<uint8_t>(frame[kHeader + 5] + extension.size());
  frame.insert(frame.begin() + kHeader + 40, extension.begin(), extension.end());
  return frame;
}

/// One packet to `target` in two parts; the marker is in the second.
std::vector<Bytes> fragments(const Ends& ends, const std::string& target, const std::string& marker) {
  const Bytes whole = udp_frame(changed(ends, &Ends::target_ip, target), 9, std::string(24, 'f') + marker);
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
  return {first, second};
}

class Attempts {
 public:
  explicit Attempts(const Ends& ends) : ends_(ends) {
    add_spoofed();
    add_destinations();
    add_tunnels();
    add_ipv6();
    add_links();
    add_options();
  }
  std::vector<Attempt> take() && { return std::move(all_); }

 private:
  void add(const std::string& name, const std::function<Bytes(const std::string& marker)>& frame) {
    const std::string marker = "attempt-" + std::to_string(all_.size()) + "-";
    all_.push_back({.name = name, .frames = {frame(marker)}, .marker = marker});
  }
  void add_udp(const std::string& name, const Ends& ends) {
    add(name, [&](const std::string& marker) { return udp_frame(ends, 9, marker); });
  }
  void add_spoofed() {
    add_udp("another MAC as source", changed(ends_, &Ends::source_mac, "02:00:5e:00:53:ee"));
    add_udp("another VM's address as source", changed(ends_, &Ends::source_ip, "169.254.100.6"));
    add_udp("the host's address as source", changed(ends_, &Ends::source_ip, Surroundings::kHost));
    add_udp("0.0.0.0 as source", changed(ends_, &Ends::source_ip, "0.0.0.0"));
    add_udp("127.0.0.1 as source", changed(ends_, &Ends::source_ip, "127.0.0.1"));
  }
  void add_destinations() {
    add_udp("broadcast: 255.255.255.255", changed(ends_, &Ends::target_ip, "255.255.255.255"));
    add_udp("broadcast: that of its own block", changed(ends_, &Ends::target_ip, "169.254.100.3"));
    add_udp("multicast: 224.0.0.251", changed(ends_, &Ends::target_ip, "224.0.0.251"));
    add_udp("to the metadata service", changed(ends_, &Ends::target_ip, "169.254.169.254"));
    add_udp("to 169.254.1.1, the namespace's next hop", changed(ends_, &Ends::target_ip, "169.254.1.1"));
    add_udp("to another VM", changed(ends_, &Ends::target_ip, "169.254.100.6"));
    add_udp("to 127.0.0.1", changed(ends_, &Ends::target_ip, "127.0.0.1"));
    add_udp("to the host", changed(ends_, &Ends::target_ip, Surroundings::kHost));
    for (const auto& [name, target] : {std::pair{"to the host, in two fragments", Surroundings::kHost},
                                       std::pair{"to the metadata service, in two fragments", "169.254.169.254"}})
      all_.push_back({.name = name, .frames = fragments(ends_, target, "in-two-parts-"), .marker = "in-two-parts-"});
  }
  void add_ipv6() {
    Ends v6 = ends_;
    v6.source_ip = "2001:db8::1";
    v6.target_ip = Surroundings::kInternet6;
    add_udp("IPv6", v6);
    // RFC 8200, section 4: hop-by-hop options with padding, a routing header of type 0, a first and only fragment,
    // destination options.
    add("IPv6 with hop-by-hop options",
        [&](const std::string& marker) { return with_extension(udp_frame(v6, 9, marker), 0, 1, 4); });
    add("IPv6 with a source route (routing header)",
        [&](const std::string& marker) { return with_extension(udp_frame(v6, 9, marker), 43, 0, 0); });
    add("IPv6 with a fragment header",
        [&](const std::string& marker) { return with_extension(udp_frame(v6, 9, marker), 44, 0, 0); });
    add("IPv6 with destination options",
        [&](const std::string& marker) { return with_extension(udp_frame(v6, 9, marker), 60, 1, 4); });
    v6.source_ip = "fe80::1";
    add_udp("IPv6 from a link-local address", v6);
    v6.target_mac = "33:33:00:00:00:01";
    v6.target_ip = "ff02::1";
    add_udp("IPv6 multicast: ff02::1", v6);
  }
  /// A packet of a tunnel.
  Bytes tunnel(uint8_t protocol, const std::string& target, const std::string& marker) {
    Bytes frame = udp_frame(changed(ends_, &Ends::target_ip, target), 9, std::string(28, 't') + marker);
    frame[14 + 9] = protocol;
    mend_checksum(frame, 14, 5);
    return frame;
  }
  void add_tunnels() {
    for (const auto& [name, protocol] :
         {std::pair{"IP in IP, to the host", 4}, std::pair{"IPv6 in IPv4 (protocol 41), to the host", 41},
          std::pair{"GRE, to the host", 47}})
      add(name, [&, protocol = protocol](const std::string& marker) {
        return tunnel(static_cast<uint8_t>(protocol), Surroundings::kHost, marker);
      });
  }
  void add_links() {
    add("a priority tag (VLAN 0)", [&](const std::string& marker) {
      Bytes frame = tagged(udp_frame(ends_, 9, marker), {0x8100});
      frame[15] = 0;
      return frame;
    });
    add("a VLAN tag", [&](const std::string& marker) { return tagged(udp_frame(ends_, 9, marker), {0x8100}); });
    add("two VLAN tags (QinQ)",
        [&](const std::string& marker) { return tagged(udp_frame(ends_, 9, marker), {0x88a8, 0x8100}); });
    for (const auto& [name, type] : {std::pair{"LLDP (ethertype 0x88cc)", 0x88cc}, std::pair{"PPPoE (0x8863)", 0x8863},
                                     std::pair{"Wake-on-LAN (0x0842)", 0x0842}, std::pair{"PTP (0x88f7)", 0x88f7}})
      add(name, [&, type = type](const std::string& marker) {
        return ether_frame(ends_, static_cast<uint16_t>(type), Bytes(marker.begin(), marker.end()));
      });
  }
  // RFC 791: loose and strict source route, record route; RFC 2113: router alert.
  void add_options() {
    const auto hop = ip4_bytes(Surroundings::kRouter);
    for (const auto& [name, option] : {std::pair{"a loose source route", 131}, std::pair{"a strict source route", 137},
                                       std::pair{"the option record route", 7}})
      add(name, [&, option = option](const std::string& marker) {
        return with_options(udp_frame(ends_, 9, marker),
                            {static_cast<uint8_t>(option), 7, 4, hop[0], hop[1], hop[2], hop[3], 0});
      });
    add("the option router alert",
        [&](const std::string& marker) { return with_options(udp_frame(ends_, 9, marker), {148, 4, 0, 0}); });
  }

  const Ends& ends_;
  std::vector<Attempt> all_ = {};
};

/// What is no frame to be seen outside; each is a case of its own below.
const std::vector<std::pair<const char*, const char*>>& other_attempts() {
  static const std::vector<std::pair<const char*, const char*>> all{
      {"ARP replies and requests that claim the gateway's, the next hop's, another VM's, the router's address",
       "no neighbour entry changes, of the namespace or the host"},
      {"ARP for any address but the gateway's", "no answer"},
      {"a port that the host publishes by DNAT", "closed, also when the namespace's table is gone"},
      {"an address that is translated to the host's own", "closed"},
      {"IPv6, switched on and routed in a namespace without its table", "closed by the host"},
      {"a way in from the LAN, the internet or the host beside a connection from inside", "closed"}};
  return all;
}

std::string attempts_table(const Ends& ends) {
  std::string text = "| what the VM tries | |\n|---|---|\n";
  for (const Attempt& attempt : Attempts(ends).take()) text += "| " + attempt.name + " | closed |\n";
  for (const auto& [name, outcome] : other_attempts()) text += std::string("| ") + name + " | " + outcome + " |\n";
  return text;
}

}  // namespace

TEST_CASE("isolated escape: only what is honest gets out of the namespace") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const Scene scene;
  REQUIRE(scene.gets_out(udp_frame(scene.ends, 9, "honest-one"), "honest-one"));
  const std::vector<Bytes> parts = fragments(scene.ends, Surroundings::kInternet, "honest-parts");
  scene.guest.send(parts[0]);
  REQUIRE(scene.gets_out(parts[1], "honest-parts"));
  const std::vector<Attempt> attempts = Attempts(scene.ends).take();
  for (const Attempt& attempt : attempts)
    for (const Bytes& frame : attempt.frames) scene.guest.send(frame);
  // An honest packet behind them has been looked at after them.
  const std::string seen = scene.outside.seen_until(scene.guest, udp_frame(scene.ends, 9, "behind-all"), "behind-all");
  REQUIRE(seen.find("behind-all") != std::string::npos);
  for (const Attempt& attempt : attempts) {
    CAPTURE(attempt.name);
    CHECK(seen.find(attempt.marker) == std::string::npos);
  }
}

TEST_CASE("isolated escape: the table of attempts in the docs") {
  const Ends ends{.source_mac = "02:00:5e:00:53:01",
                  .target_mac = "02:00:5e:00:53:02",
                  .source_ip = "169.254.100.2",
                  .target_ip = Surroundings::kInternet};
  const std::string table = attempts_table(ends);
  std::ifstream file(std::string(SLICER_DOCS_DIR) + "/slicer-isolated.md");
  const std::string text(std::istreambuf_iterator<char>(file), {});
  CHECK_MESSAGE(text.find(table) != std::string::npos, "docs/slicer-isolated.md should have:\n", table);
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
  CHECK_FALSE(pings(around.machine.path(), vm.ip(), 1));
  CHECK_FALSE(pings(around.internet.path(), vm.ip(), 1));
  CHECK_FALSE(pings(Host::netns(), vm.ip(), 1));
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
  CHECK_FALSE(vm.pings("203.0.113.50", 1));
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
  CHECK_FALSE(pings(vm.box.path(), Surroundings::kHost6, 1));
  (void)run(words("ping -6 -c 1 -W 1 -s 64 -p 6d61726b6572 2001:db8:113::9"), {.netns = vm.box.path()});
  CHECK_FALSE(lan.sees("markermarker"));
}
