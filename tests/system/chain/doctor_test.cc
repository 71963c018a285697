// slicer-run doctor: each defect is seen, named and has a remedy; a good host has none of them.

#include <doctest/doctest.h>
#include <sys/mount.h>

#include <filesystem>

#include "tests/system/chain/operator.h"
#include "tests/system/fixture/snapshot.h"

using namespace slicer;
using namespace slicer::test;

namespace {

constexpr const char* kSubnet = "198.51.100.0/24";

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// What doctor says on one subject: "fail: <what> (<remedy>)" lines.
struct Report {
  Report() : outcome(slicer_run({"doctor", "--json"})) {
    all = Json::parse(outcome.out, nullptr, false);
    if (all.is_discarded()) give_up("doctor printed no JSON: " + outcome.out + outcome.err);
  }
  [[nodiscard]] std::string of(const std::string& check) const {
    std::string text;
    for (const Json& finding : all) {
      if (finding["check"] != check) continue;
      text += finding["level"].get<std::string>() + ": " + finding["what"].get<std::string>();
      if (finding.contains("remedy")) text += " (" + finding["remedy"].get<std::string>() + ")";
      text += "\n";
    }
    return text;
  }
  Outcome outcome = {};
  Json all = {};
};

struct OneNetwork : Host {
  OneNetwork() { write_list("51-slicer.conflist", network_list("slicer", "slicer0", kSubnet)); }
};

}  // namespace

TEST_CASE("doctor: a good network is found good, nothing is changed, and no check is without a word") {
  const OneNetwork host;
  const std::string before = snapshot({.folders = {"/run", "/var/lib/cni", "/etc/cni"}});
  const Report report;
  CHECK(difference(before, snapshot({.folders = {"/run", "/var/lib/cni", "/etc/cni"}})) == "");
  for (const char* check : {"kernel.bridge", "kernel.tap", "kernel.veth", "kernel.guard", "kernel.redirect",
                            "kernel.nftables", "tun", "network", "forwarding", "firewall", "bridge", "shared",
                            "isolation", "rules", "pool", "store", "leftovers", "copy"}) {
    CAPTURE(check);
    CHECK_MESSAGE(report.of(check).starts_with("ok: "), report.of(check));
    CHECK_FALSE(contains(report.of(check), "fail: "));
  }
  // What a kernel may lack, and most networks do not need: never a failure.
  for (const char* check : {"kernel.macvtap", "kernel.egress"}) {
    CAPTURE(check);
    CHECK_FALSE(report.of(check).empty());
    CHECK_FALSE(contains(report.of(check), "fail: "));
  }
  if (run(words("ip link add link lo name probe type macvtap")).err.find("Unknown device type") == std::string::npos)
    CHECK(report.of("kernel.macvtap") == "ok: macvtaps can be made, and their devices found\n");
  for (const char* check : {"kvm", "user", "machine-id", "image", "networkd", "networkmanager"})
    CHECK_FALSE(report.of(check).empty());
  for (const Json& finding : report.all) CHECK((finding["level"] == "ok" || finding.contains("remedy")));
}

TEST_CASE("doctor: exits 1 exactly when something fails, and says so in words") {
  const OneNetwork host;
  write_text("/etc/cni/net.d/10-broken.conflist", "{");
  const Outcome told = slicer_run({"doctor"});
  CHECK(told.exit_code == 1);
  CHECK(contains(told.out, "fail  conflist         read network '/etc/cni/net.d/10-broken.conflist': "));
  CHECK(contains(told.out, "do: mend the file or move it away\n"));
  const Report report;
  size_t failures = 0;
  for (const Json& finding : report.all) failures += finding["level"] == "fail" ? 1 : 0;
  CHECK(failures > 0);
  CHECK(report.outcome.exit_code == 1);
}

TEST_CASE("doctor: without /dev/net/tun that is what fails, not what needs a TAP to be tried") {
  const OneNetwork host;
  REQUIRE(mount("tmpfs", "/dev/net", "tmpfs", 0, nullptr) == 0);
  const Report report;
  CHECK(
      contains(report.of("kernel.tap"), "fail: open '/dev/net/tun': No such file or directory (ENOENT) (modprobe tun"));
  for (const char* check : {"kernel.guard", "kernel.redirect"}) {
    CAPTURE(check);
    CHECK(report.of(check) ==
          "warn: not tried: there is no TAP to try it on (see to what failed before it, then run doctor again)\n");
  }
}

TEST_CASE("doctor: a mistyped key, which the plugin ignores, is told with the right one") {
  const OneNetwork host;
  Json list = network_list("slicer", "slicer0", kSubnet);
  list["plugins"][0]["isGatway"] = true;
  list["plugins"][0]["x-comment"] = "ours";
  write_list("51-slicer.conflist", list);
  const Report report;
  CHECK(contains(report.of("conflist"), "warn: network 'slicer' (/etc/cni/net.d/51-slicer.conflist): slicer-bridge"));
  CHECK(contains(report.of("conflist"), "\"isGatway\""));
  CHECK_FALSE(contains(report.of("conflist"), "x-comment"));
}

TEST_CASE("doctor: plugins that are absent, no programs of CNI, or of other versions") {
  const OneNetwork host;
  write_text("/run/bin/tired", "#!/bin/sh\nexit 3\n");
  write_text("/run/bin/old",
             "#!/bin/sh\necho '{\"cniVersion\": \"0.4.0\", \"supportedVersions\": [\"0.3.1\", \"0.4.0\"]}'\n");
  for (const char* name : {"tired", "old"}) {
    std::filesystem::permissions(std::string("/run/bin/") + name, std::filesystem::perms::owner_all);
    std::filesystem::create_symlink(std::string("/run/bin/") + name, std::string("/run/bin/link-") + name);
  }
  Json list = network_list("strange", "br0", "203.0.113.0/24");
  list["plugins"] = {{{"type", "absent"}}, {{"type", "tired"}}, {{"type", "old"}}};
  write_list("60-strange.conflist", list);
  const Outcome told = run({bin_dir() + "/slicer-run", "--cni-path", bin_dir() + ":/run/bin", "doctor"},
                           {.env = {{{"PATH", "/usr/sbin:/usr/bin:/sbin:/bin"}}}});
  CHECK(told.exit_code == 1);
  CHECK(contains(told.out, "network 'strange': find plugin 'absent' in '"));
  CHECK(contains(told.out, "network 'strange': VERSION: run 'tired': failed"));
  CHECK(contains(told.out, "network 'strange': '/run/bin/old' speaks 0.3.1, 0.4.0, not the network's 1.1.0"));
}

TEST_CASE("doctor: two networks on one bridge with different lists, of which ADD tells too") {
  const OneNetwork host;
  std::string backend = "nftables";
  SUBCASE("nftables") {}
  SUBCASE("iptables") {
    if (!run({"unshare", "-n", "iptables-legacy", "-S"}).ok()) SLICER_SKIP("needs iptables-legacy, and its tables");
    backend = "iptables";
  }
  Json slicer = network_list("slicer", "slicer0", kSubnet);
  slicer["plugins"][1]["backend"] = backend;
  write_list("51-slicer.conflist", slicer);
  attach({.name = "demo-1", .marked = false});
  Json other = network_list("other", "slicer0", kSubnet);
  other["plugins"][1]["backend"] = backend;
  other["plugins"][0]["ipam"]["rangeStart"] = "198.51.100.100";
  write_list("52-other.conflist", other);
  attach({.name = "demo-2", .network = "other", .tap = "vmtap1", .marked = false});
  CHECK(Report().of("shared") == "ok: no bridge has networks with different lists\n");
  other["plugins"][1]["drop"] = {"203.0.113.0/24"};
  write_list("52-other.conflist", other);
  const Outcome added = slicer_run({"network", "reload", "other"});
  INFO(added.out << added.err);
  CHECK(added.ok());
  const std::string told =
      "networks 'other', 'slicer' are on one bridge, 'slicer0': their VMs are held to the lists of all of them";
  CHECK(contains(Report().of("shared"), "warn: " + told + " (give each network a bridge of its own"));
  other["plugins"][1]["drop"] = {"203.0.113.0/24", "203.0.112.0/24"};
  Json firewall = other["plugins"][1];
  firewall.update({{"name", "other"}, {"cniVersion", "1.0.0"}});
  firewall["prevResult"] = Json::parse(
      R"({"cniVersion": "1.0.0", "interfaces": [{"name": "slicer0"}, {"name": "tap0", "sandbox": "/run/netns/x"}],
          "ips": [{"address": "198.51.100.101/24", "interface": 1}]})");
  const Answer answer = call_plugin("slicer-firewall", firewall, {.netns = Host::netns(), .ifname = "tap0"});
  INFO(answer.text());
  CHECK(answer.ok());
  CHECK(contains(answer.err, told));
  // Equal lists are as good as one.
  slicer["plugins"][1]["drop"] = {"203.0.113.0/24", "203.0.112.0/24"};
  write_list("51-slicer.conflist", slicer);
  CHECK(slicer_run({"network", "reload", "slicer"}).ok());
  CHECK(Report().of("shared") == "ok: no bridge has networks with different lists\n");
}

TEST_CASE("doctor: a bridge with lists and a port on the LAN, which go round them") {
  const OneNetwork host;
  Json list = network_list("slicer", "slicer0", kSubnet);
  list["plugins"][1]["drop"] = {"203.0.113.0/24"};
  write_list("51-slicer.conflist", list);
  attach({.name = "demo-1"});
  CHECK_FALSE(contains(Report().of("bridge"), "warn"));
  if (!run(words("ip link add lan9 type vxlan id 9 dstport 4789")).ok()) SLICER_SKIP("no vxlan in this kernel");
  (void)must("ip link set lan9 master slicer0");
  Host::sysctl("net/bridge/bridge-nf-call-iptables", "0");
  CHECK(contains(Report().of("bridge"), "warn: bridge 'slicer0' of network 'slicer' has the port 'lan9'"));
  Host::sysctl("net/bridge/bridge-nf-call-iptables", "1");
  Host::sysctl("net/bridge/bridge-nf-call-ip6tables", "1");
  CHECK_FALSE(contains(Report().of("bridge"), "lan9"));
}

TEST_CASE("doctor: pools that overlap one another, the host's addresses or its routes") {
  const OneNetwork host;
  write_list("52-more.conflist", network_list("more", "slicer1", "198.51.100.128/25"));
  CHECK(contains(Report().of("pool"),
                 "fail: networks 'slicer' and 'more' overlap: 198.51.100.0/24 and 198.51.100.128/25"));
  write_list("52-more.conflist", network_list("more", "slicer1", "203.0.113.0/24"));
  CHECK(Report().of("pool").starts_with("ok: "));
  (void)must("ip link add dummy-lan type veth peer name dummy-peer");
  (void)must("ip addr add 203.0.113.7/32 dev dummy-lan");
  CHECK(contains(Report().of("pool"),
                 "fail: the host has 203.0.113.7 on dummy-lan, inside 203.0.113.0/24 of network 'more'"));
  (void)must("ip addr del 203.0.113.7/32 dev dummy-lan");
  (void)must("ip addr add 192.0.2.1/24 dev dummy-lan");
  (void)must("ip link set dummy-lan up");
  (void)must("ip link set dummy-peer up");
  (void)must("ip route add default via 192.0.2.2");
  CHECK(Report().of("pool").starts_with("ok: "));
  (void)must("ip route add 203.0.0.0/16 via 192.0.2.2");
  CHECK(contains(Report().of("pool"),
                 "warn: 203.0.113.0/24 of network 'more' lies in 203.0.0.0/16, which the host reaches by dummy-lan"));
}

TEST_CASE("doctor: a network that is in use does not disturb itself") {
  const OneNetwork host;
  attach_with_record({.name = "demo-1"}, true);
  const Report report;
  CHECK_MESSAGE(report.of("pool").starts_with("ok: "), report.of("pool"));
  CHECK(report.of("allocation").empty());
  CHECK(report.of("leftovers").starts_with("ok: "));
  CHECK(report.of("forwarding").starts_with("ok: net.ipv4.ip_forward is on"));
}

TEST_CASE("doctor: pools that are nearly or quite full") {
  const Host host;
  write_list("51-slicer.conflist", network_list("slicer", "slicer0", "198.51.100.0/28"));  // 13 addresses and a gateway
  for (int i = 2; i <= 13; ++i)
    write_text("/var/lib/cni/networks/slicer/198.51.100." + std::to_string(i), "vm-" + std::to_string(i) + "\r\neth0");
  CHECK(contains(Report().of("pool"), "warn: network 'slicer': 12 of 13 addresses are in use"));
  write_text("/var/lib/cni/networks/slicer/198.51.100.14", "vm-14\r\neth0");
  CHECK(contains(Report().of("pool"), "fail: network 'slicer': 13 of 13 addresses are in use"));
}

TEST_CASE("doctor: an address kept for nobody is told with the file to remove, one from before the boot is not") {
  OneNetwork host;
  attach({.name = "before", .tap = "vmtap7"});
  host.reboot();
  std::filesystem::remove_all("/var/lib/cni/results");
  Json list = network_list("slicer", "slicer0", kSubnet);
  list["plugins"].push_back({{"type", "absent"}});  // no STATUS, at which slicer-ipam would clear the old one away
  write_list("51-slicer.conflist", list);
  write_text("/var/lib/cni/networks/slicer/198.51.100.9", "nobody\r\neth0");
  const std::string told = Report().of("allocation");
  REQUIRE(std::filesystem::exists("/var/lib/cni/networks/slicer/198.51.100.2"));
  CHECK(told ==
        "warn: 198.51.100.9 of network 'slicer' is kept for nobody (eth0), which no runtime's cache knows "
        "(if it is gone: rm '/var/lib/cni/networks/slicer/198.51.100.9')\n");
}

TEST_CASE("doctor: a store that others can write, or that holds what is no allocation") {
  const Host host;
  Json list = network_list("slicer", "slicer0", kSubnet);
  list["plugins"][0]["ipam"]["type"] = "host-local";  // slicer-ipam's STATUS would take what is empty away
  write_list("51-slicer.conflist", list);
  const std::string folder = "/var/lib/cni/networks/slicer";
  write_text(folder + "/198.51.100.9", "pod\r\neth0");
  write_text(folder + "/198.51.100.10", "");
  std::filesystem::create_symlink("/etc/hostname", folder + "/198.51.100.11");
  for (const char* name : {"", "/198.51.100.9", "/198.51.100.10"})
    std::filesystem::permissions(folder + name, std::filesystem::perms(0755));
  CHECK(Report().of("store") ==
        "warn: '" + folder +
            "/198.51.100.11': no regular file; as an address it is never given (find out who put it "
            "there, and remove it)\n"
            "warn: '" +
            folder +
            "/198.51.100.10' of network 'slicer': empty, as a crash of host-local leaves it (remove it, "
            "or have slicer-ipam in the conflist, which takes it for free)\n");
  for (const char* name : {"", "/198.51.100.9"})
    std::filesystem::permissions(folder + name, std::filesystem::perms(0777));
  (void)must("chown 65534 " + folder + "/198.51.100.10");
  const std::string told = Report().of("store");
  CHECK(contains(told, "warn: '" + folder + "' can be written by others than root (owner 0, mode 0777)"));
  CHECK(contains(told, " and 1 more can be written by others than root (chown -R root '" + folder + "'"));
}

TEST_CASE("doctor: dead VMs and what other runtimes left") {
  const OneNetwork host;
  attach_with_record({.name = "dead"}, false);
  write_text("/var/lib/cni/results/slicer-pod-eth0",
             R"({"kind": "cniCacheV1", "containerId": "pod", "ifName": "eth0", "networkName": "slicer", "config": "",
                 "netns": "/run/netns/gone", "result": {"cniVersion": "1.0.0"}})");
  (void)must("ip netns add slicer-lost-1");
  write_text("/var/lib/slicer/vms/lost-2/known_hosts", "x");
  const std::string told = Report().of("leftovers");
  CHECK(contains(told, "warn: the network namespace of VM lost-1, of which nothing else is left (slicer-run gc)"));
  CHECK(contains(told, "warn: files of VM lost-2, of which nothing else is left (slicer-run gc)"));
  CHECK_FALSE(contains(told, "ok: "));
  CHECK(contains(told, "warn: a dead VM left dead (vmtap0) on network 'slicer' (slicer-run gc)"));
  CHECK(contains(told, "warn: another runtime left pod (eth0) on network 'slicer': its namespace is gone"));
}

TEST_CASE("doctor: forwarding that somebody switched off under a network") {
  const OneNetwork host;
  CHECK(contains(Report().of("forwarding"), "ok: net.ipv4.ip_forward is off; the first VM"));
  attach_with_record({.name = "demo-1"}, true);
  Host::sysctl("net/ipv4/ip_forward", "0");
  CHECK(contains(Report().of("forwarding"), "fail: net.ipv4.ip_forward is off: VMs of network 'slicer'"));
}

TEST_CASE("doctor: a foreign FORWARD chain that drops, and the opening that is or is not there") {
  for (const std::string& iptables : {std::string("iptables-nft"), std::string("iptables-legacy")}) {
    if (!run({"unshare", "-n", iptables, "-S"}).ok()) SLICER_SKIP("needs the program " + iptables + ", and its tables");
    const bool legacy = iptables == "iptables-legacy";
    const std::string drops = std::string("chain 'FORWARD' of table 'ip filter") + (legacy ? " (legacy)" : "") +
                              "' (iptables) drops what is forwarded";
    const OneNetwork host;
    (void)must(iptables + " -P FORWARD DROP");
    INFO(Report().of("firewall"));
    CHECK(contains(Report().of("firewall"), "ok: " + drops + "; the first VM of network 'slicer' gets its opening"));
    CHECK(contains(Report().of("firewall"), "other programs keep rules in table 'filter' of the old iptables") ==
          legacy);
    attach_with_record({.name = "demo-1"}, true);
    CHECK(contains(Report().of("firewall"), "but lets network 'slicer' through"));
    (void)must(iptables + " -F FORWARD");
    CHECK(contains(Report().of("firewall"), "fail: " + drops + ", and the opening of network 'slicer' is gone"));
    Json list = network_list("slicer", "slicer0", kSubnet);
    list["plugins"].erase(1);
    write_list("51-slicer.conflist", list);
    CHECK(contains(Report().of("firewall"), "add {\"type\": \"slicer-firewall\"} to its plugins"));
  }
}

TEST_CASE("doctor: systemd-networkd and NetworkManager that would take our links") {
  const OneNetwork host;
  write_text("/run/systemd/netif/state", "");
  write_text("/run/systemd/network/01-greedy.network", "[Match]\nName=*\n[Network]\nDHCP=yes\n");
  std::string told = Report().of("networkd");
  CHECK(contains(
      told,
      "fail: systemd-networkd takes slicer0 of network 'slicer' over, by '/run/systemd/network/01-greedy.network'"));
  CHECK(contains(told, "takes vmtap* of network 'slicer' over"));
  write_text("/run/systemd/network/00-slicer.network", "[Match]\nName=slicer0 vmtap* sl*\n[Link]\nUnmanaged=yes\n");
  told = Report().of("networkd");
  CHECK(told == "ok: systemd-networkd leaves our links alone\n");
  write_text("/run/NetworkManager/conf.d/10.conf", "");
  CHECK(contains(Report().of("networkmanager"), "warn: NetworkManager may take slicer0 of network 'slicer' over"));
  write_text("/run/NetworkManager/conf.d/10.conf",
             "[keyfile]\nunmanaged-devices=interface-name:sl*;interface-name:vmtap*\n");
  CHECK(Report().of("networkmanager") == "ok: NetworkManager leaves our links alone\n");
}

TEST_CASE("doctor: networks of host groups, which no file has, are looked at too") {
  const OneNetwork host;
  write_list("52-group.conflist", network_list("group", "brgroup", "203.0.113.0/24"));
  attach({.name = "vm-1", .network = "group"});
  std::filesystem::remove("/etc/cni/net.d/52-group.conflist");
  write_text("/run/systemd/netif/state", "");
  write_text("/run/systemd/network/01-greedy.network", "[Match]\nName=brgroup\n[Network]\nDHCP=yes\n");
  CHECK(contains(Report().of("networkd"), "fail: systemd-networkd takes brgroup of network 'group' over"));
}

TEST_CASE("doctor: an empty folder of networks") {
  const Host host;
  const Report report;
  CHECK(contains(report.of("conflist"), "warn: no network in '/etc/cni/net.d'"));
  CHECK(report.of("network").empty());
}

TEST_CASE("doctor: who is not root is told that, and nothing else") {
  const OneNetwork host;
  const Outcome told = run({"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", bin_dir() + "/slicer-run",
                            "--cni-path", bin_dir(), "doctor"});
  CHECK(told.exit_code == 1);
  CHECK(told.out ==
        "fail  root             only root can examine a host\n"
        "                       do: run as root: sudo slicer-run doctor\n"
        "0 ok, 0 to see to, 1 failed\n");
  CHECK(told.err == "");
}

TEST_CASE("doctor: the rules of isolated networks are looked at while there is an isolated VM") {
  const OneNetwork host;
  CHECK(Report().of("isolation").starts_with("ok: "));
  const Json conf = {{"cniVersion", "1.1.0"}, {"name", "sandbox"}, {"type", "slicer-isolated"}};
  const Netns box("box");
  REQUIRE(call_plugin("slicer-isolated", conf, {.container_id = "vm-1", .netns = box.path(), .ifname = "tap0"}).ok());
  CHECK(Report().of("isolation").starts_with("ok: "));
  (void)must("nft flush ruleset");
  const Report report;
  CHECK(report.outcome.exit_code == 1);
  CHECK(report.of("isolation")
            .starts_with("fail: check the rules of isolated networks in table 'inet slicer': chain "
                         "'isolation-prerouting' is gone"));
  CHECK(contains(report.of("isolation"),
                 "slicer-run network reload puts it back, as does the next ADD on an isolated network"));
  const Netns next("next");
  REQUIRE(call_plugin("slicer-isolated", conf, {.container_id = "vm-2", .netns = next.path(), .ifname = "tap0"}).ok());
  CHECK(Report().of("isolation").starts_with("ok: "));
}

TEST_CASE(
    "doctor: a default route by a bridge of VMs, which isolated ones have no way out by, and their ADD tells too") {
  const OneNetwork host;
  const Json conf = {{"cniVersion", "1.1.0"}, {"name", "sandbox"}, {"type", "slicer-isolated"}};
  const Netns box("box");
  const Netns next("next");
  const auto add = [&](const Json& network, const Netns& netns) {
    return call_plugin("slicer-isolated", network,
                       {.container_id = netns.name(), .netns = netns.path(), .ifname = "tap0"});
  };
  attach({.name = "demo-1"});
  (void)must("ip addr add 192.0.2.2/24 dev slicer0");
  CHECK(Report().of("isolation").starts_with("ok: "));
  (void)must("ip route add default via 192.0.2.1 dev slicer0");
  CHECK(Report().of("isolation").starts_with("ok: "));  // no isolated network
  const Answer first = add(conf, box);
  INFO(first.text());
  CHECK(first.ok());
  CHECK(contains(first.err, "VMs of network 'sandbox' have no way out: the host's default route leaves by 'slicer0'"));
  CHECK(add(conf, next).err == "");
  const Report report;
  CHECK(contains(report.of("isolation"),
                 "fail: isolated VMs have no way out: the host's default route leaves by 'slicer0'"));
  CHECK(contains(report.of("isolation"), "(give slicer-bridge a bridge of its own"));
  (void)must("ip route del default");
  CHECK(Report().of("isolation").starts_with("ok: "));
}
