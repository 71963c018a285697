// What a VM sends under another's name goes nowhere.
#include <doctest/doctest.h>

#include <cstdio>
#include <optional>

#include "tests/system/bridge/bridge_support.h"

using namespace slicer::test;
using namespace slicer::test::bridge;

namespace {

bool is_reply_or_payload(const Bytes& frame, const std::string& marker) {
  const std::string text(frame.begin(), frame.end());
  return text.find(marker) != std::string::npos;
}

/// Two VMs; the first one tries, the second one and the host watch.
struct Scene {
  explicit Scene(const Json& conf, const Netns* box = nullptr) {
    const Call attack =
        box != nullptr ? private_call("ADD", *box, "attacker", "tap0") : host_call("ADD", "attacker", "vmtap0");
    const Json mine = add(conf, attack);
    const Json other = add(conf, host_call("ADD", "victim", "vmtap1"));
    mac = guest_entry(mine, "attacker")["mac"];
    ip = ip_of(mine, 4);
    ip6 = ip_of(mine, 6);
    victim_mac = guest_entry(other, "victim")["mac"];
    victim_ip = ip_of(other, 4);
    victim_ip6 = ip_of(other, 6);
    bridge_mac = mine["interfaces"][0]["mac"];
    attacker = std::make_unique<RawGuest>(TapPlace{.tap = attack.ifname, .netns = box != nullptr ? box->path() : ""});
    victim = std::make_unique<RawGuest>(TapPlace{.tap = "vmtap1"});
    // The bridge learns of a cable that was just plugged in by an event of its own.
    if (!eventually([] { return must("bridge link show").find("state disabled") == std::string::npos; }))
      give_up("a port does not come up");
  }

  /// Whether `frame`, which carries `marker`, comes out at the victim.
  [[nodiscard]] bool arrives(const Bytes& frame, const std::string& marker) const {
    attacker->send(frame);
    return victim
        ->receive([&](const Bytes& got) { return is_reply_or_payload(got, marker); }, std::chrono::milliseconds(250))
        .has_value();
  }

  [[nodiscard]] Ends honest() const {
    return {.source_mac = mac, .target_mac = victim_mac, .source_ip = ip, .target_ip = victim_ip};
  }
  [[nodiscard]] Ends honest6() const {
    return {.source_mac = mac, .target_mac = victim_mac, .source_ip = ip6, .target_ip = victim_ip6};
  }

  std::string mac, ip, ip6, victim_mac, victim_ip, victim_ip6, bridge_mac;
  std::unique_ptr<RawGuest> attacker, victim;
};

void try_everything(const Scene& scene) {
  CHECK(scene.arrives(udp_frame(scene.honest(), 9, "honest-v4"), "honest-v4"));
  CHECK(scene.arrives(udp_frame(scene.honest6(), 9, "honest-v6"), "honest-v6"));

  Ends ends = scene.honest();
  ends.source_mac = "02:00:5e:00:53:ee";
  CHECK_FALSE(scene.arrives(udp_frame(ends, 9, "foreign-mac"), "foreign-mac"));
  ends = scene.honest();
  ends.source_ip = "192.0.2.200";
  CHECK_FALSE(scene.arrives(udp_frame(ends, 9, "foreign-v4"), "foreign-v4"));
  ends.source_ip = "192.0.2.1";
  CHECK_FALSE(scene.arrives(udp_frame(ends, 9, "as-gateway"), "as-gateway"));
  ends = scene.honest6();
  ends.source_ip = "2001:db8:1::bad";
  CHECK_FALSE(scene.arrives(udp_frame(ends, 9, "foreign-v6"), "foreign-v6"));

  // ARP in another's name: the victim's own address, the gateway's.
  const auto arp_arrives = [&](const Bytes& frame, const std::optional<LeftChecksum>& checksum = {}) {
    checksum ? scene.attacker->send(frame, *checksum) : scene.attacker->send(frame);
    return scene.victim
        ->receive([](const Bytes& got) { return got[12] == 8 && got[13] == 6; }, std::chrono::milliseconds(250))
        .has_value();
  };
  CHECK(arp_arrives(arp_request({.source_mac = scene.mac, .source_ip = scene.ip, .target_ip = scene.victim_ip})));
  CHECK_FALSE(arp_arrives(arp_reply({.source_mac = scene.mac,
                                     .target_mac = scene.victim_mac,
                                     .source_ip = "192.0.2.1",
                                     .target_ip = scene.victim_ip})));
  // Its own address, which the host is to turn into another one behind all filters, as if it were a checksum.
  const Bytes own_name = arp_reply(
      {.source_mac = scene.mac, .target_mac = scene.victim_mac, .source_ip = scene.ip, .target_ip = scene.victim_ip});
  constexpr LeftChecksum kSenderIp{.start = 14 + 14, .offset = 0};
  CHECK_FALSE(arp_arrives(own_name, kSenderIp));
  // An answer of a DHCP server, which would be the victim's gateway.
  ends = scene.honest();
  ends.target_ip = "255.255.255.255";
  CHECK_FALSE(scene.arrives(udp_frame(ends, 68, "dhcp-offer"), "dhcp-offer"));
  CHECK_FALSE(scene.arrives(udp_frame(scene.honest6(), 546, "dhcp6-offer"), "dhcp6-offer"));
  // A tag that the filter would not look behind, and protocols that are nobody's here.
  const Bytes tagged = {0, 5, 8, 0, 'v', 'l', 'a', 'n', '-', 't', 'a', 'g'};
  CHECK_FALSE(scene.arrives(ether_frame(scene.honest(), 0x8100, tagged), "vlan-tag"));
  const Bytes other = {'l', 'l', 'd', 'p', '-', 'x'};
  CHECK_FALSE(scene.arrives(ether_frame(scene.honest(), 0x88cc, other), "lldp-x"));
}

}  // namespace

TEST_CASE("bridge spoof: closed in the host's placement") {
  const Host host;
  try_everything(Scene(dual_conf()));
}

TEST_CASE("bridge spoof: closed in a private namespace") {
  const Host host;
  const Netns box("box");
  try_everything(Scene(dual_conf(), &box));
}

TEST_CASE("bridge spoof: closed where the rate is limited too, which leads frames another way") {
  Json conf = dual_conf();
  for (const char* key : {"ingressRate", "egressRate"}) conf[key] = 1'000'000'000;
  for (const char* key : {"ingressBurst", "egressBurst"}) conf[key] = 1'000'000;
  for (const bool in_private_namespace : {false, true}) {
    CAPTURE(in_private_namespace);
    const Host host;
    if (!run(words("ip link add probe type ifb")).ok()) SLICER_SKIP("no ifb in this kernel");
    (void)must("ip link del probe");
    const Netns box("box");
    try_everything(Scene(conf, in_private_namespace ? &box : nullptr));
  }
}

TEST_CASE("bridge spoof: the host's own neighbour table cannot be poisoned") {
  const Host host;
  const Scene scene(dual_conf());
  const std::string before = must("ip neigh show dev slicer0");
  scene.attacker->send(arp_reply({.source_mac = scene.mac,
                                  .target_mac = scene.bridge_mac,
                                  .source_ip = scene.victim_ip,
                                  .target_ip = "192.0.2.1"}));
  CHECK_FALSE(scene.arrives(udp_frame({.source_mac = scene.victim_mac,
                                       .target_mac = scene.bridge_mac,
                                       .source_ip = scene.victim_ip,
                                       .target_ip = "192.0.2.1"},
                                      9, "x"),
                            "never"));
  CHECK(must("ip neigh show dev slicer0") == before);
  CHECK(must("bridge fdb show dev vmtap1").find(scene.victim_mac) != std::string::npos);
}

TEST_CASE("bridge spoof: each check can be switched off") {
  const Host host;
  {
    const Scene scene(with(dual_conf(), "ipspoofchk", false));
    Ends ends = scene.honest();
    ends.source_ip = "192.0.2.200";
    CHECK(scene.arrives(udp_frame(ends, 9, "foreign-v4"), "foreign-v4"));
    ends.source_mac = "02:00:5e:00:53:ee";
    CHECK_FALSE(scene.arrives(udp_frame(ends, 9, "foreign-mac"), "foreign-mac"));
  }
  (void)call(dual_conf(), host_call("DEL", "attacker", "vmtap0"));
  (void)call(dual_conf(), host_call("DEL", "victim", "vmtap1"));
  const Scene scene(with(dual_conf(), "macspoofchk", false));
  Ends ends = scene.honest();
  ends.source_ip = "192.0.2.200";
  ends.source_mac = "02:00:5e:00:53:ee";
  CHECK(scene.arrives(udp_frame(ends, 9, "foreign-both"), "foreign-both"));
}

TEST_CASE("bridge spoof: a guest cannot give the host a route") {
  const Host host;
  Json conf = dual_conf();
  conf["isGateway"] = false;  // no forwarding: the kernel's default would take advertisements
  conf["ipMasq"] = false;
  (void)add(conf, host_call("ADD"));
  CHECK(Host::sysctl("net/ipv6/conf/slicer0/accept_ra") == "0");
}

TEST_CASE("bridge spoof: without CAP_BPF the first filter stands alone, and CHECK knows what was possible") {
  const Host host;
  const auto incapable = [](const Call& how, const Json& conf) {
    return run({"setpriv", "--bounding-set=-sys_admin,-bpf", "--inh-caps=-sys_admin,-bpf", bin_dir() + "/" + kPlugin},
               {.in = conf.dump(), .env = cni_environment(how)});
  };
  const Outcome added = incapable(host_call("ADD"), dual_conf());
  INFO(added.out);
  REQUIRE(added.ok());
  CHECK(must("tc filter show dev vmtap0 ingress").find("slicer-checksum") == std::string::npos);
  const Json before = with(dual_conf(), "prevResult", Json::parse(added.out));
  const Outcome checked = incapable(host_call("CHECK"), before);
  CHECK_MESSAGE(checked.ok(), checked.out);
  CHECK(call(before, host_call("CHECK")).code() == 105);
  CHECK(call(dual_conf(), host_call("DEL")).ok());
  (void)add(dual_conf(), host_call("ADD"));
  CHECK(must("tc filter show dev vmtap0 ingress").find("slicer-checksum") != std::string::npos);
}
