// slicer-bridge's VLAN keys. They need a kernel whose bridges filter VLANs: tests/scripts/debian-kernel runs these
// cases on one where the host's has not.
#include <doctest/doctest.h>

#include "tests/system/bridge/bridge_support.h"

using namespace slicer::test;
using namespace slicer::test::bridge;

namespace {

bool filters_vlans() {
  const bool made = run(words("ip link add probe type bridge vlan_filtering 1")).ok();
  if (made) (void)must("ip link del probe");
  return made;
}

constexpr const char* kMissing = "this kernel's bridges do not filter VLANs (CONFIG_BRIDGE_VLAN_FILTERING)";

/// A network of its own in a VLAN of the shared bridge: 10 has 192.0.2.0/25, 20 has 192.0.2.128/25.
Json vlan_conf(int vlan) {
  Json conf = with(demo_conf(), "vlan", vlan);
  conf["name"] = "vlan" + std::to_string(vlan);
  conf["ipam"]["subnet"] = vlan == 10 ? "192.0.2.0/25" : "192.0.2.128/25";
  return conf;
}

std::string vlans_of(const std::string& link) { return must("bridge vlan show dev " + link); }

/// An 802.1Q tag behind the MAC addresses.
Bytes tagged(Bytes frame, uint8_t vlan) {
  const Bytes tag = {0x81, 0x00, 0x00, vlan};
  frame.insert(frame.begin() + 12, tag.begin(), tag.end());
  return frame;
}

}  // namespace

TEST_CASE("bridge vlan: an access port is in its VLAN alone, in every placement") {
  const Host host;
  if (!filters_vlans()) SLICER_SKIP(kMissing);
  const Netns box("box"), pod("pod");
  const Json in_host = add(vlan_conf(10), host_call("ADD"));
  CHECK(vlans_of("vmtap0").find("10 PVID Egress Untagged") != std::string::npos);
  CHECK(vlans_of("vmtap0").find(" 1 ") == std::string::npos);
  const Json in_box = add(vlan_conf(10), private_call("ADD", box, "vm-2"));
  const Json container = add(with(vlan_conf(10), "device", "veth"),
                             {.command = "ADD", .container_id = "pod", .netns = pod.path(), .ifname = "eth0"});
  const Json other = add(vlan_conf(20), host_call("ADD", "vm-3", "vmtap1"));

  const Guest one(Guest::from_result(in_host, host_call("ADD"), "guest-1"));
  const Guest two(Guest::from_result(in_box, private_call("ADD", box, "vm-2"), "guest-2"));
  const Guest three(Guest::from_result(other, host_call("ADD", "vm-3", "vmtap1"), "guest-3"));
  CHECK(pings(one.netns(), "192.0.2.1"));  // the gateway, on the VLAN's own link
  CHECK(pings(two.netns(), "192.0.2.1"));
  CHECK(pings(pod.path(), "192.0.2.1"));
  CHECK(pings(three.netns(), "192.0.2.129"));
  CHECK(pings(one.netns(), ip_of(in_box, 4)));
  CHECK(pings(two.netns(), ip_of(container, 4)));
  CHECK(must("ip -4 addr show dev slicer0.10").find("192.0.2.1/25") != std::string::npos);

  // On the cable itself the other VLAN does not exist: a guest that claims to be its neighbour gets no answer.
  (void)must("ip addr flush dev eth0", three.netns());
  (void)must("ip addr add 192.0.2.100/25 dev eth0", three.netns());
  CHECK_FALSE(pings(three.netns(), ip_of(in_host, 4), 1));
}

TEST_CASE("bridge vlan: CHECK sees a VLAN that is missing, changed or too many") {
  const Host host;
  if (!filters_vlans()) SLICER_SKIP(kMissing);
  const Json conf = vlan_conf(10);
  const Json result = add(conf, host_call("ADD"));
  const auto check = [&] { return call(with(conf, "prevResult", result), host_call("CHECK")); };
  CHECK(check().ok());
  (void)must("bridge vlan del vid 10 dev vmtap0");
  const Answer missing = check();
  INFO(missing.text());
  CHECK(missing.msg().find("not in VLAN 10") != std::string::npos);
  (void)must("bridge vlan add vid 10 dev vmtap0");  // tagged: not what an access port does
  CHECK_FALSE(check().ok());
  (void)must("bridge vlan add vid 10 pvid untagged dev vmtap0");
  CHECK(check().ok());
  (void)must("bridge vlan add vid 1 dev vmtap0");
  const Answer extra = check();
  INFO(extra.text());
  CHECK(extra.msg().find("still in VLAN 1") != std::string::npos);
}

TEST_CASE("bridge vlan: CHECK names the link that the gateway's address belongs on") {
  const Host host;
  if (!filters_vlans()) SLICER_SKIP(kMissing);
  const Json conf = vlan_conf(10);
  const Json result = add(conf, host_call("ADD"));
  (void)must("ip addr flush dev slicer0.10");
  const Answer answer = call(with(conf, "prevResult", result), host_call("CHECK"));
  INFO(answer.text());
  CHECK(answer.code() == 105);
  CHECK(answer.json.value("details", "") == "ip addr add 192.0.2.1/25 dev slicer0.10");
}

TEST_CASE("bridge vlan: a trunk carries its VLANs with their tags, and no other") {
  const Host host;
  if (!filters_vlans()) SLICER_SKIP(kMissing);
  Json conf = demo_conf();
  for (const char* key : {"ipam", "isGateway", "ipMasq"}) conf.erase(key);
  conf["name"] = "trunk";
  conf["vlanTrunk"] = {{{"id", 10}}, {{"minID", 40}, {"maxID", 42}}};
  const Json result = add(conf, host_call("ADD"));
  const std::string vlans = vlans_of("vmtap0");
  INFO(vlans);
  for (const char* id : {" 1 PVID", " 10", " 40", " 41", " 42"}) CHECK(vlans.find(id) != std::string::npos);
  CHECK(call(with(conf, "prevResult", result), host_call("CHECK")).ok());

  (void)add(vlan_conf(10), host_call("ADD", "vm-2", "vmtap1"));
  (void)add(vlan_conf(20), host_call("ADD", "vm-3", "vmtap2"));
  const RawGuest trunk({.tap = "vmtap0"}), ten({.tap = "vmtap1"}), twenty({.tap = "vmtap2"});
  const Ends ends{.source_mac = "02:00:5e:00:53:07", .source_ip = "192.0.2.7", .target_ip = "192.0.2.8"};
  const auto mine = [&](const Bytes& frame) {
    return std::equal(frame.begin() + 6, frame.begin() + 12, mac_bytes(ends.source_mac).begin());
  };
  trunk.send(tagged(arp_request(ends), 10));
  const auto seen = ten.receive(mine, std::chrono::seconds(5));
  REQUIRE(seen.has_value());
  CHECK((*seen)[12] == 0x08);  // an access port takes the tag off
  trunk.send(tagged(arp_request(ends), 20));
  CHECK_FALSE(twenty.receive(mine).has_value());
}

TEST_CASE("bridge vlan: a trunk with a native VLAN, as upstream's plugin has it since 1.8") {
  const Host host;
  if (!filters_vlans()) SLICER_SKIP(kMissing);
  // What a bridge gives its ports need not be VLAN 1.
  (void)must("ip link add slicer0 up type bridge vlan_filtering 1 vlan_default_pvid 7");
  Json conf = with(vlan_conf(10), "vlanTrunk", Json::parse(R"([{"id": 40}, {"minID": 9, "maxID": 11}])"));
  const Json result = add(conf, host_call("ADD"));
  std::string vlans = vlans_of("vmtap0");
  INFO(vlans);
  CHECK(vlans.find("10 PVID Egress Untagged") != std::string::npos);
  for (const char* id : {" 9\n", " 11\n", " 40\n"}) CHECK(vlans.find(id) != std::string::npos);
  CHECK(vlans.find(" 7") == std::string::npos);
  CHECK(vlans.find(" 1 ") == std::string::npos);
  CHECK(call(with(conf, "prevResult", result), host_call("CHECK")).ok());
  // The gateway's own port is an access port.
  CHECK(must("bridge vlan show").find("40") == must("bridge vlan show").rfind("40"));

  conf = with(conf, "preserveDefaultVlan", true);
  (void)add(conf, host_call("ADD", "vm-2", "vmtap1"));
  CHECK(vlans_of("vmtap1").find(" 7 Egress Untagged") != std::string::npos);
  for (const char* key : {"vlan", "ipam", "isGateway", "ipMasq"}) conf.erase(key);
  const Json bare = with(conf, "preserveDefaultVlan", false);
  const Json third = add(bare, host_call("ADD", "vm-3", "vmtap2"));
  vlans = vlans_of("vmtap2");
  CHECK(vlans.find("Untagged") == std::string::npos);
  CHECK(vlans.find(" 10\n") != std::string::npos);
  CHECK(call(with(bare, "prevResult", third), host_call("CHECK", "vm-3", "vmtap2")).ok());
}

TEST_CASE("bridge vlan: DEL leaves nothing but the network's own, and GC finds a VLAN's leftovers") {
  const Host host;
  if (!filters_vlans()) SLICER_SKIP(kMissing);
  const std::string before = settled_snapshot(vlan_conf(10), host_call("ADD"));
  (void)add(vlan_conf(10), host_call("ADD"));
  CHECK(call(vlan_conf(10), host_call("DEL")).ok());
  CHECK(difference(before, snapshot()) == "");
  (void)add(vlan_conf(10), host_call("ADD"));
  Json gc = vlan_conf(10);
  gc["cni.dev/valid-attachments"] = Json::array();
  CHECK(call(gc, host_call("GC")).ok());
  CHECK(difference(before, snapshot()) == "");
}
