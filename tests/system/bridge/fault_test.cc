// Bad input and faults: each gets a CNI error that names the key or object, and nothing is left half made.
#include <doctest/doctest.h>
#include <sys/mount.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "tests/system/bridge/bridge_support.h"

using namespace slicer::test;
using namespace slicer::test::bridge;

namespace {

struct Fault {
  std::string what = {};
  Json conf = demo_conf();
  Call call = host_call("ADD");
  int code = 0;            ///< 0: any but success
  std::string named = {};  ///< must stand in the message
};

/// The call fails as said, and leaves everything as it was.
void check_fault(const Fault& fault, const SnapshotOptions& seen = {}) {
  CAPTURE(fault.what);
  const std::string before = snapshot(seen);
  const Answer answer = call(fault.conf, fault.call);
  INFO(answer.text());
  CHECK(answer.exit_code == 1);
  REQUIRE(answer.json.is_object());
  if (fault.code != 0) CHECK(answer.code() == fault.code);
  CHECK(answer.code() != 0);
  CHECK(answer.msg().find(fault.named) != std::string::npos);
  CHECK(difference(before, snapshot(seen)) == "");
}

Json pool_of(int addresses) {
  return with(with(demo_conf(), "/ipam/rangeStart", "192.0.2.10"), "/ipam/rangeEnd",
              "192.0.2." + std::to_string(9 + addresses));
}

}  // namespace

TEST_CASE("bridge fault: configurations that cannot be") {
  const Host host;
  check_fault({.what = "bridge name of 16 bytes",
               .conf = with(demo_conf(), "bridge", "sixteen-bytes-br"),
               .code = 7,
               .named = "\"bridge\""});
  check_fault({.what = "mtu", .conf = with(demo_conf(), "mtu", "big"), .code = 7, .named = "\"mtu\""});
  check_fault({.what = "device", .conf = with(demo_conf(), "device", "tun"), .code = 7, .named = "\"device\""});
  check_fault(
      {.what = "backend", .conf = with(demo_conf(), "ipMasqBackend", "pf"), .code = 7, .named = "\"ipMasqBackend\""});
  check_fault({.what = "gateway outside",
               .conf = with(demo_conf(), "/ipam/gateway", "198.51.100.1"),
               .code = 7,
               .named = "198.51.100.1"});
  Call bad_owner = host_call("ADD");
  bad_owner.args = "IgnoreUnknown=1;TC_REDIRECT_TAP_UID=root";
  check_fault({.what = "owner", .call = bad_owner, .code = 4, .named = "TC_REDIRECT_TAP_UID"});
}

TEST_CASE("bridge fault: overlapping ranges") {
  const Host host;
  Json conf = demo_conf();
  conf["ipam"].erase("subnet");
  conf["ipam"]["ranges"] = {{{{"subnet", "192.0.2.0/24"}}, {{"subnet", "192.0.2.128/25"}}}};
  check_fault({.what = "overlap", .conf = conf, .code = 7, .named = "192.0.2"});
}

TEST_CASE("bridge fault: a bridge that exists as something else is left alone") {
  const Host host;
  (void)must("ip link add slicer0 type veth peer name other");
  check_fault({.what = "veth", .named = "slicer0"});
  CHECK(call(demo_conf(), host_call("ADD")).json.value("details", "").find("bridge") != std::string::npos);
  CHECK(call(demo_conf(), host_call("DEL")).ok());
  CHECK(must("ip link show dev slicer0").find("slicer0@other") != std::string::npos);
}

TEST_CASE("bridge fault: a link of the wanted name is left alone, by ADD and by the DEL that follows") {
  const Host host;
  (void)settled_snapshot(demo_conf(), host_call("ADD"));
  (void)must("ip tuntap add vmtap0 mode tap");
  const std::string before = snapshot();
  check_fault({.what = "foreign tap", .named = "'vmtap0'"});
  CHECK(call(demo_conf(), host_call("DEL")).ok());
  CHECK(difference(before, snapshot()) == "");
  // One that another attachment of ours owns is a stranger's too.
  (void)must("ip tuntap del vmtap0 mode tap");
  (void)add(demo_conf(), host_call("ADD", "vm-2", "vmtap0"));
  const std::string with_other = snapshot();
  check_fault({.what = "another VM's tap", .named = "'vmtap0'"});
  CHECK(call(demo_conf(), host_call("DEL")).ok());
  CHECK(difference(with_other, snapshot()) == "");
}

TEST_CASE("bridge fault: a second ADD of an attachment is refused and costs the first one nothing") {
  const Host host;
  const Json result = add(demo_conf(), host_call("ADD"));
  check_fault({.what = "second ADD", .named = "'vmtap0'"});
  CHECK(call(with(demo_conf(), "prevResult", result), host_call("CHECK")).ok());
}

TEST_CASE("bridge fault: an exhausted pool, before and after the network stands") {
  const Host host;
  const Json conf = pool_of(1);
  const Json first = add(conf, host_call("ADD", "vm-1", "vmtap0"));
  check_fault({.what = "exhausted", .conf = conf, .call = host_call("ADD", "vm-2", "vmtap1"), .named = "192.0.2.10"});
  const Json elsewhere = with(with(conf, "bridge", "slicer1"), "isGateway", false);
  check_fault({.what = "no bridge either", .conf = elsewhere, .call = host_call("ADD", "vm-2", "vmtap1")});
  CHECK(call(with(conf, "prevResult", first), host_call("CHECK", "vm-1", "vmtap0")).ok());
  const Answer status = call(conf, host_call("STATUS"));
  CHECK(status.code() == 50);
}

TEST_CASE("bridge fault: a namespace that is missing or none") {
  const Host host;
  Call missing = host_call("ADD");
  missing.netns = "/run/netns/no-such";
  check_fault({.what = "missing", .call = missing, .code = 4, .named = "/run/netns/no-such"});
  (void)must("touch /run/netns/empty");
  missing.netns = "/run/netns/empty";
  check_fault({.what = "no namespace", .call = missing, .code = 4, .named = "/run/netns/empty"});
}

TEST_CASE("bridge fault: a read-only data directory") {
  const Host host;
  const std::string before = snapshot();
  REQUIRE(mount(nullptr, "/var/lib/cni", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) == 0);
  check_fault({.what = "read-only", .named = "/var/lib/cni"});
  CHECK(call(demo_conf(), host_call("STATUS")).code() == 50);
  REQUIRE(mount(nullptr, "/var/lib/cni", nullptr, MS_REMOUNT | MS_BIND, nullptr) == 0);
  CHECK(difference(before, snapshot()) == "");
}

TEST_CASE("bridge fault: a full disk") {
  const Host host;
  REQUIRE(mount("tmpfs", "/var/lib/cni", "tmpfs", 0, "size=64k") == 0);
  (void)run({"dd", "if=/dev/zero", "of=/var/lib/cni/filler", "bs=4k"});
  check_fault({.what = "full", .named = "ENOSPC"});
  CHECK(call(demo_conf(), host_call("DEL")).ok());
  (void)must("rm /var/lib/cni/filler");
  (void)add(demo_conf(), host_call("ADD"));
}

TEST_CASE("bridge fault: input that is no configuration") {
  const Host host;
  const std::string whole = demo_conf().dump();
  const std::string before = snapshot();
  for (const size_t length : {size_t{0}, size_t{1}, whole.size() / 2, whole.size() - 1}) {
    const Answer answer = call_plugin_raw(kPlugin, whole.substr(0, length), host_call("ADD"));
    INFO(answer.text());
    CHECK(answer.code() == 6);
  }
  CHECK(difference(before, snapshot()) == "");
}

TEST_CASE("bridge fault: /proc/sys read-only takes the whole first ADD back") {
  const Host host;
  const std::string before = snapshot();
  REQUIRE(mount("/proc/sys", "/proc/sys", nullptr, MS_BIND, nullptr) == 0);
  REQUIRE(mount(nullptr, "/proc/sys", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) == 0);
  const Answer refused = call(demo_conf(), host_call("ADD"));
  INFO(refused.text());
  CHECK(refused.exit_code == 1);
  CHECK(refused.msg().find("net/ipv") != std::string::npos);
  REQUIRE(umount2("/proc/sys", MNT_DETACH) == 0);
  CHECK(difference(before, snapshot()) == "");
}

TEST_CASE("bridge fault: forwarding that cannot be switched on takes the whole first ADD back, its rules too") {
  const Host host;
  const std::string before = snapshot();
  constexpr const char* kSwitch = "/proc/sys/net/ipv4/ip_forward";
  REQUIRE(mount(kSwitch, kSwitch, nullptr, MS_BIND, nullptr) == 0);
  REQUIRE(mount(nullptr, kSwitch, nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) == 0);
  const Answer refused = call(demo_conf(), host_call("ADD"));
  INFO(refused.text());
  CHECK(refused.exit_code == 1);
  CHECK(refused.msg().find("ip_forward") != std::string::npos);
  REQUIRE(umount2(kSwitch, MNT_DETACH) == 0);
  CHECK(difference(before, snapshot()) == "");
}

TEST_CASE("bridge fault: a TAP device that cannot be opened is said, and nothing is left") {
  const Host host;
  (void)must("touch /run/nothing");
  const std::string before = snapshot();
  REQUIRE(mount("/run/nothing", "/dev/net/tun", nullptr, MS_BIND, nullptr) == 0);
  check_fault({.what = "no tun", .named = "'vmtap0'"});
  REQUIRE(umount2("/dev/net/tun", MNT_DETACH) == 0);
  CHECK(difference(before, snapshot()) == "");
}

TEST_CASE("bridge fault: a first ADD that fails on a bridge of somebody else's leaves none of the network's rules") {
  const Host host;
  (void)must("ip link add slicer0 type bridge forward_delay 0");
  (void)must("ip link add other0 master slicer0 up type veth peer name other1");  // so its MAC does not change
  (void)must("ip link set slicer0 up");
  (void)must("touch /run/nothing");
  const auto fail_once = [](const Json& conf, const Call& how) {
    REQUIRE(mount("/run/nothing", "/dev/net/tun", nullptr, MS_BIND, nullptr) == 0);
    check_fault({.what = "no tun", .conf = conf, .call = how, .named = "'" + how.ifname + "'"});
    REQUIRE(umount2("/dev/net/tun", MNT_DETACH) == 0);
  };
  Json listed_alone = demo_conf();
  listed_alone.erase("ipMasq");
  for (const Json& conf : {demo_conf(), listed_alone, with(demo_conf(), "ipMasqBackend", "iptables"),
                           with(demo_conf(), "portIsolation", true)})
    fail_once(conf, host_call("ADD"));
  // Where a VM of the network is there they stay, and so does what stood without one.
  const Json first = add(demo_conf(), host_call("ADD"));
  fail_once(demo_conf(), host_call("ADD", "vm-2", "vmtap1"));
  CHECK(call(with(demo_conf(), "prevResult", first), host_call("CHECK")).ok());
  REQUIRE(call(demo_conf(), host_call("DEL")).ok());
  fail_once(demo_conf(), host_call("ADD"));
}

TEST_CASE("bridge fault: an IPAM plugin that is not there is only said to be absent") {
  const Host host;
  const Json conf = with(demo_conf(), "/ipam/type", "no-such-ipam");
  check_fault({.what = "no IPAM", .conf = conf, .code = 101, .named = "'no-such-ipam'"});
  CHECK(call(conf, host_call("ADD")).err == "");
}

TEST_CASE("bridge fault: VLAN keys on a kernel without VLAN filtering") {
  const Host host;
  if (run(words("ip link add probe type bridge vlan_filtering 1")).ok()) SLICER_SKIP("this kernel has VLAN filtering");
  for (const auto& [key, value] : {std::pair<const char*, Json>{"vlan", 10}, {"vlanTrunk", {{{"id", 10}}}}}) {
    CAPTURE(key);
    const Json conf = with(demo_conf(), key, value);
    check_fault({.what = key, .conf = conf, .named = "VLAN filtering"});
  }
  (void)add(demo_conf(), host_call("ADD", "vm-2", "vmtap1"));
  check_fault({.what = "standing bridge", .conf = with(demo_conf(), "vlan", 10), .named = "VLAN filtering"});
}

TEST_CASE("bridge fault: DEL works with a configuration that has become wrong in the file") {
  const Host host;
  (void)settled_snapshot(demo_conf(), host_call("ADD"));
  const std::string before = snapshot();
  (void)add(demo_conf(), host_call("ADD"));
  const Answer answer = call(with(demo_conf(), "mtu", 5), host_call("DEL"));
  INFO(answer.text());
  CHECK(answer.ok());
  CHECK(difference(before, snapshot()) == "");
}

TEST_CASE("bridge fault: DEL goes on after an error and says it") {
  const Host host;
  (void)add(demo_conf(), host_call("ADD"));
  const Json unknown = with(demo_conf(), "/ipam/type", "no-such-ipam");
  const Answer answer = call(unknown, host_call("DEL"));
  INFO(answer.text());
  CHECK_FALSE(answer.ok());
  CHECK(answer.msg().find("no-such-ipam") != std::string::npos);
  CHECK_FALSE(run(words("ip link show dev vmtap0")).ok());
}

TEST_CASE("bridge fault: the bridge's 1,024th port") {
  const Host host;
  Json conf = demo_conf();
  for (const char* key : {"ipam", "isGateway", "ipMasq"}) conf.erase(key);
  (void)add(conf, host_call("ADD"));
  std::string batch;
  for (int i = 0; i < 1022; ++i) batch += "link add p" + std::to_string(i) + " master slicer0 type veth\n";
  const Outcome filled = run({"ip", "-batch", "-"}, {.in = batch, .deadline = std::chrono::seconds(120)});
  INFO(filled.err);
  REQUIRE(filled.ok());
  const Answer refused = call(conf, host_call("ADD", "vm-2", "vmtap1"));
  INFO(refused.text());
  CHECK_FALSE(refused.ok());
  CHECK(refused.msg().find("1023 ports") != std::string::npos);
  CHECK_FALSE(run(words("ip link show dev vmtap1")).ok());
}

TEST_CASE("bridge fault: parallel ADDs: none lost, none twice, and parallel DELs leave nothing") {
  const Host host;
  constexpr int kMany = 16;
  const Json conf = dual_conf();
  const std::string script = "for i in $(seq " + std::to_string(kMany) +
                             "); do CNI_CONTAINERID=vm-$i CNI_IFNAME=vmtap$i " + bin_dir() +
                             "/slicer-bridge <<< \"$CONF\" > /run/out.$i & done; wait";
  const auto all = [&](const std::string& command) {
    auto env = cni_environment(host_call(command));
    env["CONF"] = conf.dump();
    return run({"bash", "-c", script}, {.env = env, .deadline = std::chrono::seconds(60)});
  };
  REQUIRE(all("ADD").ok());
  std::set<std::string> addresses;
  for (int i = 1; i <= kMany; ++i) {
    const Json result = Json::parse(must("cat /run/out." + std::to_string(i)), nullptr, false);
    INFO(result.dump());
    REQUIRE(result.contains("ips"));
    addresses.insert(ip_of(result, 4));
    const Answer checked = call(with(conf, "prevResult", result),
                                host_call("CHECK", "vm-" + std::to_string(i), "vmtap" + std::to_string(i)));
    INFO(checked.text());
    CHECK(checked.ok());
  }
  CHECK(addresses.size() == kMany);
  REQUIRE(all("DEL").ok());
  for (int i = 1; i <= kMany; ++i) CHECK(must("cat /run/out." + std::to_string(i)).empty());
  (void)must("rm -rf /run/out.1");
  CHECK(must("bridge link show").empty());
  CHECK(must("ip neigh show dev slicer0 nud permanent").empty());
  CHECK(must("find /var/lib/cni -type f -name 192.0.2.*").empty());
}

TEST_CASE("bridge fault: two networks on one host, one VM in both") {
  const Host host;
  const Surroundings around;
  const Json other = with(with(with(demo_conf(), "name", "other"), "bridge", "slicer1"), "/ipam/subnet", "10.1.0.0/24");
  const Json first = add(demo_conf(), host_call("ADD", "vm-1", "vmtap0"));
  const std::string between = snapshot();
  const Json second = add(other, host_call("ADD", "vm-1", "vmtap1"));
  CHECK(guest_entry(first, "vm-1")["mac"] != guest_entry(second, "vm-1")["mac"]);
  CHECK(first["interfaces"][0]["mac"] != second["interfaces"][0]["mac"]);
  const Guest one(Guest::from_result(first, host_call("ADD", "vm-1", "vmtap0"), "guest-1"));
  const Guest two(Guest::from_result(second, host_call("ADD", "vm-1", "vmtap1"), "guest-2"));
  CHECK(pings(one.netns(), Surroundings::kInternet));
  CHECK(pings(two.netns(), Surroundings::kInternet));
  CHECK(call(demo_conf(), host_call("DEL", "vm-1", "vmtap0")).ok());
  CHECK(pings(two.netns(), Surroundings::kInternet));
  CHECK(call(with(other, "prevResult", second), host_call("CHECK", "vm-1", "vmtap1")).ok());
}

TEST_CASE("bridge fault: a reboot never exhausts the pool") {
  Host host;
  const Json conf = pool_of(2);
  (void)add(conf, host_call("ADD", "vm-1", "vmtap0"));
  (void)add(conf, host_call("ADD", "vm-2", "vmtap1"));
  CHECK_FALSE(call(conf, host_call("ADD", "vm-3", "vmtap2")).ok());
  host.reboot();
  (void)add(conf, host_call("ADD", "vm-4", "vmtap0"));
  (void)add(conf, host_call("ADD", "vm-5", "vmtap1"));
  CHECK_FALSE(call(conf, host_call("ADD", "vm-6", "vmtap2")).ok());
}

TEST_CASE("bridge fault: dead neighbours of a killed DEL go with the next DEL of that bridge") {
  const Host host;
  const std::string before = settled_snapshot(demo_conf(), host_call("ADD"));
  (void)add(demo_conf(), host_call("ADD", "vm-1", "vmtap0"));
  (void)must("ip link del vmtap0");  // as a DEL killed after its first step
  CHECK_FALSE(must("ip neigh show dev slicer0 nud permanent").empty());
  (void)add(demo_conf(), host_call("ADD", "vm-2", "vmtap1"));
  CHECK(call(demo_conf(), host_call("DEL", "vm-2", "vmtap1")).ok());
  CHECK(must("ip neigh show dev slicer0 nud permanent").empty());
  CHECK(call(demo_conf(), host_call("DEL", "vm-1", "vmtap0")).ok());
  CHECK(difference(before, snapshot()) == "");
}
