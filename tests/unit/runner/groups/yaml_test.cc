// Host groups: the documented forms are read, and each mistake is told where it stands.

#include "runner/groups/yaml.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>

#include "lib/base/whole_file.h"
#include "lib/cni/json.h"
#include "runner/groups/keys.h"
#include "tests/unit/runner/temp_folder.h"

namespace slicer::runner {
namespace {

HostGroups good(const std::string& name) {
  Result<HostGroups> groups = read_host_groups(std::string(GROUPS_DATA) + "/good/" + name);
  INFO((groups ? "" : groups.error().message));
  REQUIRE(groups);
  return *groups;
}

HostGroup only(const std::string& name) {
  const HostGroups groups = good(name);
  REQUIRE(groups.groups.size() == 1);
  return groups.groups.front();
}

Error error_of(const std::string& text) {
  const Result<HostGroups> groups = parse_host_groups(text, "f.yaml");
  REQUIRE_FALSE(groups);
  return groups.error();
}

// A group "g" with the lines of its section "network".
std::string with_network(const std::string& lines) {
  return "config:\n  host_groups:\n    - name: g\n      network:\n" + lines;
}

std::string with_group(const std::string& lines) { return "config:\n  host_groups:\n    - name: g\n" + lines; }

}  // namespace

TEST_CASE("host groups: every documented form is read") {
  for (const auto& entry : std::filesystem::directory_iterator(std::string(GROUPS_DATA) + "/good")) {
    CAPTURE(entry.path());
    CHECK(read_host_groups(entry.path().string()));
  }
}

TEST_CASE("host groups: isolated") {
  const HostGroup group = only("isolated-lists.yaml");
  CHECK(group.name == "sandbox");
  CHECK(group.count == 0);
  CHECK(group.vcpus == 1);
  CHECK(group.ram_mib == 256);
  REQUIRE(group.network);
  CHECK(group.network->mode == NetworkMode::kIsolated);
  REQUIRE(group.network->isolated_range);
  CHECK(group.network->isolated_range->text() == "169.254.100.0/22");
  CHECK(group.network->drop == std::vector<std::string>{"192.168.1.0/24"});
  CHECK(group.network->allow.empty());
  CHECK_FALSE(only("isolated.yaml").network->isolated_range);
}

TEST_CASE("host groups: bridge is the mode of a network that names none") {
  const HostGroup group = only("bridge-range.yaml");
  CHECK(group.count == 3);
  CHECK(group.vm_name(3) == "vm-3");
  REQUIRE(group.network);
  CHECK(group.network->mode == NetworkMode::kBridge);
  CHECK(group.network->bridge == "brvm0");
  CHECK(group.network->tap_prefix == "vmtap");
  CHECK(group.network->gateway->text() == "192.168.137.1/24");
  CHECK(group.network->range->text() == "192.168.137.20-192.168.137.80");
  const HostGroup listed = only("bridge-addresses.yaml");
  REQUIRE(listed.network->addresses.size() == 3);
  CHECK(listed.network->addresses[2].text() == "192.168.137.4/24");
}

TEST_CASE("host groups: without a network the group uses a CNI network, the file's unless it names one") {
  CHECK(only("cni.yaml").network_name == "slicer");
  CHECK_FALSE(only("cni.yaml").network);
  const auto groups = parse_host_groups(
      "config:\n  host_groups: [{name: a}, {name: b, network_name: lan}]\n  network_name: dmz\n", "f");
  REQUIRE(groups);
  CHECK(groups->groups[0].network_name == "dmz");
  CHECK(groups->groups[1].network_name == "lan");
}

TEST_CASE("host groups: all keys together") {
  const HostGroups groups = good("everything.yaml");
  REQUIRE(groups.groups.size() == 3);
  const HostGroup& farm = groups.groups[0];
  CHECK(farm.vcpus == 2);
  CHECK(farm.ram_mib == 1024);
  CHECK(farm.image == "/var/lib/slicer/images/other");
  CHECK(farm.dns_servers == std::vector<std::string>{"192.0.2.53", "2001:db8::53"});
  CHECK(farm.network->addresses[1].text() == "192.0.2.11/24");
  CHECK(farm.network->fallback == "drop");
  CHECK(farm.network->mtu_bytes == 1400);
  CHECK(groups.groups[1].ram_mib == 128);
  CHECK(groups.groups[2].network_name == "lan");
}

TEST_CASE("host groups: what a VM and its guest are given") {
  const HostGroups groups = good("guest.yaml");
  REQUIRE(groups.groups.size() == 3);
  const HostGroup& web = groups.groups[0];
  CHECK(web.restart == RestartPolicy::kNo);
  CHECK(web.image == "/var/lib/slicer/images/debian/image.yaml");
  CHECK(web.storage_bytes == uint64_t{10} << 30U);
  REQUIRE(web.macs.size() == 2);
  CHECK(web.macs[1].text() == "52:54:00:12:34:57");
  REQUIRE(web.ssh_keys.size() == 1);
  CHECK(web.ssh_keys[0].starts_with("ssh-ed25519 AAAAC3"));
  CHECK(web.userdata == "#cloud-config\npackages: [nginx]\n");
  const HostGroup& worker = groups.groups[1];
  CHECK(worker.restart == RestartPolicy::kOnFailure);
  CHECK(worker.storage_bytes == uint64_t{20} << 30U);
  CHECK(worker.macs[0].text() == "02:00:5e:00:53:01");
  REQUIRE(worker.bandwidth);
  CHECK(*worker.bandwidth ==
        Bandwidth{
            .ingress_rate = 100000000, .ingress_burst = 10000000, .egress_rate = 20000000, .egress_burst = 4000000});
  CHECK(worker.dns_servers.empty());
  CHECK(groups.groups[2].restart == RestartPolicy::kAlways);
}

TEST_CASE("host groups: name servers are public ones unless the file or the LAN's DHCP names others") {
  using Servers = std::vector<std::string>;
  CHECK(only("isolated.yaml").dns_servers == Servers{"8.8.8.8", "1.1.1.1"});
  CHECK(only("bridge.yaml").dns_servers == Servers{"8.8.8.8", "1.1.1.1"});
  CHECK(only("macvtap-gateway.yaml").dns_servers == Servers{"8.8.8.8", "1.1.1.1"});
  CHECK(only("macvtap.yaml").dns_servers.empty());
  CHECK(only("cni.yaml").dns_servers.empty());
  CHECK(good("guest.yaml").groups[2].dns_servers.empty());
  const auto ipv6 = parse_host_groups(with_network("        gateway: \"2001:db8::1/64\"\n"), "f");
  REQUIRE(ipv6);
  CHECK(ipv6->groups[0].dns_servers == Servers{"2001:4860:4860::8888", "2606:4700:4700::1111"});
}

TEST_CASE("host groups: names of interfaces that are not given come from the group's, shortened when too long") {
  CHECK(default_bridge("vm") == "brvm0");
  CHECK(default_tap_prefix("vm") == "vmtap");
  const std::string name = "a-group-with-a-long-name";
  CHECK(default_bridge(name).size() == 15);
  CHECK(default_bridge(name).starts_with("bra-group-"));
  CHECK(default_bridge(name) != default_bridge(name + "2"));
  CHECK(default_tap_prefix(name).size() == 10);
  CHECK(default_tap_prefix(name) != default_tap_prefix(name + "2"));
  CHECK(default_bridge("build.farm").find('.') == std::string::npos);
}

TEST_CASE("host groups: a wrong key or value is told with its place and what would be right") {
  struct Case {
    std::string text;
    const char* message;
    const char* hint;
  };
  const std::vector<Case> cases = {
      {"", "f.yaml:1:1: expected a section of keys, got nothing", ""},
      {"a: [", "f.yaml:1:1: end of sequence flow not found", ""},
      {"- config", "f.yaml:1:1: expected a section of keys, got a list", ""},
      {"confg: {}", "f.yaml:1:1: confg: unknown key", "did you mean \"config\"?"},
      {"config:", "f.yaml:1:1: config: is missing: the whole file stands below it", ""},
      {"config: {}", "f.yaml:1:9: config.host_groups: is missing: the list of the groups", ""},
      {"config: {host_groups: []}", "f.yaml:1:23: config.host_groups: is empty", ""},
      {"config: {host_groups: {name: a}}", "f.yaml:1:23: config.host_groups: expected a list, got a section",
       "begin each group with \"- name: …\""},
      {"config: {hostgroups: []}", "f.yaml:1:10: config.hostgroups: unknown key", "did you mean \"host_groups\"?"},
      {"config: {host_groups: [{}]}", "f.yaml:1:24: config.host_groups[0].name: is missing: a host group needs one",
       ""},
      {"config: {host_groups: [{name: a}, {name: a}]}",
       "f.yaml:1:42: config.host_groups[1].name: two groups are named \"a\"", ""},
      {"config: {host_groups: [{name: a}], host_groups: []}", "f.yaml:1:36: \"host_groups\" is there twice", ""},
      {"config: {host_groups: [{name: a}]}\n---\nb: 1", "f.yaml:3:1: a second document",
       "write all host groups in one list"},
      {"config: {host_groups: [{name: Agents_1}]}",
       "f.yaml:1:31: config.host_groups[0].name: \"Agents_1\" with a VM's number behind it is not a DNS name",
       "use small letters, digits and '-', 63 at most between dots with the number, 110 in all"},
      {"config: {host_groups: [{name: a, network_name: a/b}]}",
       "f.yaml:1:48: config.host_groups[0].network_name: \"a/b\" is no name of a network", ""},
      {with_group("      cuont: 1\n"), "f.yaml:4:7: config.host_groups[0].cuont: unknown key",
       "did you mean \"count\"?"},
      {with_group("      quux: 1\n"), "f.yaml:4:7: config.host_groups[0].quux: unknown key",
       "use one of name, count, network_name, network, vcpu, ram_gb, ram_mb, hypervisor, jailer, image, dns_servers, "
       "restart, "
       "mac, bandwidth, storage, ssh_keys, userdata"},
      {with_group("      count: many\n"),
       "f.yaml:4:14: config.host_groups[0].count: expected a whole number, got \"many\"", ""},
      {with_group("      count: \"3\"\n"),
       "f.yaml:4:14: config.host_groups[0].count: expected a whole number, got \"3\"", "leave the quotes out"},
      {with_group("      count: -1\n"), "f.yaml:4:14: config.host_groups[0].count: expected a whole number, got \"-1\"",
       ""},
      {with_group("      count: 010\n"), "f.yaml:4:14: config.host_groups[0].count: 010 begins with 0",
       "write 10: others read 010 as octal"},
      {with_group("      count: 1001\n"), "f.yaml:4:14: config.host_groups[0].count: 1001 is not in 0-1000", ""},
      {with_group("      count: 99999999999999999999\n"),
       "f.yaml:4:14: config.host_groups[0].count: 99999999999999999999 is not in 0-1000", ""},
      {with_group("      ram_gb: 1\n      ram_mb: 1024\n"),
       "f.yaml:5:15: config.host_groups[0].ram_mb: and \"ram_gb\": two ways to say how much memory",
       "leave one of them out"},
      {with_group("      hypervisor: qmeu\n"),
       "f.yaml:4:19: config.host_groups[0].hypervisor: \"qmeu\" is none of qemu, firecracker, cloud-hypervisor",
       "did you mean \"qemu\"?"},
      {with_group("      image: images/demo\n"),
       "f.yaml:4:14: config.host_groups[0].image: \"images/demo\" is no absolute path",
       "the folder with kernel, initrd, disk and cmdline, or the YAML file that names them, from '/' on"},
      {with_group("      restart: alway\n"),
       "f.yaml:4:16: config.host_groups[0].restart: \"alway\" is none of no, on-failure, always",
       "did you mean \"always\"?"},
      {with_group("      mac: 52:54:00:12:34\n"),
       "f.yaml:4:12: config.host_groups[0].mac: MAC address '52:54:00:12:34' is not six pairs separated by ':'",
       "write six hexadecimal pairs, for example 02:00:5e:00:53:01"},
      {with_group("      mac: [52:54:00:12:34:56, 52:54:00:12:34:56]\n"),
       "f.yaml:4:32: config.host_groups[0].mac[1]: 52:54:00:12:34:56 is there twice", ""},
      {with_group("      count: 2\n      mac: 52:54:00:12:34:56\n"),
       "f.yaml:5:12: config.host_groups[0].mac: 2 VMs, but only 1 here", "write a list: VM n gets the n-th"},
      {"config: {host_groups: [{name: a, mac: 52:54:00:12:34:56}, {name: b, mac: [52:54:00:12:34:56]}]}",
       "f.yaml:1:74: config.host_groups[1].mac: group \"a\" has 52:54:00:12:34:56 too", ""},
      {with_group("      bandwidth: 100M\n"),
       "f.yaml:4:18: config.host_groups[0].bandwidth: expected a section of keys, got \"100M\"", ""},
      {with_group("      bandwidth: {}\n"), "f.yaml:4:18: config.host_groups[0].bandwidth: limits nothing",
       "write ingress: 100M, egress: 100M, or both"},
      {with_group("      bandwidth: {ingres: 1M}\n"),
       "f.yaml:4:19: config.host_groups[0].bandwidth.ingres: unknown key", "did you mean \"ingress\"?"},
      {with_group("      bandwidth: {ingress: 100Mbit}\n"),
       "f.yaml:4:28: config.host_groups[0].bandwidth.ingress: \"100Mbit\" is no number of bits",
       "write a whole number, with K, M or G behind it if need be, as \"100M\""},
      {with_group("      bandwidth: {egress: 0}\n"),
       "f.yaml:4:27: config.host_groups[0].bandwidth.egress: 0 would let nothing through",
       "leave the key out for no limit"},
      {with_group("      bandwidth: {ingress: 1M, egress_burst: 1M}\n"),
       "f.yaml:4:46: config.host_groups[0].bandwidth.egress_burst: without \"egress\"",
       "write the rate that it belongs to"},
      {with_group("      storage: 10 GB\n"),
       "f.yaml:4:16: config.host_groups[0].storage: storage '10 GB': the unit is not known",
       "write a whole number with K, M, G or T behind it (10G), or of GiB; 1M at least, 64T at most"},
      {with_group("      storage: 0\n"), "f.yaml:4:16: config.host_groups[0].storage: storage '0': too small",
       "write a whole number with K, M, G or T behind it (10G), or of GiB; 1M at least, 64T at most"},
      {with_group("      ssh_keys: ssh-ed25519 AAAA\n"),
       "f.yaml:4:17: config.host_groups[0].ssh_keys: expected a list, got \"ssh-ed25519 AAAA\"",
       "write [\"ssh-ed25519 AAAA\"]"},
      {with_group("      ssh_keys: [/root/.ssh/id_ed25519.pub]\n"),
       "f.yaml:4:18: config.host_groups[0].ssh_keys[0]: \"/root/.ssh/id_ed25519.pub\" is a place where a key is, not "
       "the "
       "key",
       "write the public key itself: \"ssh-ed25519 AAAA… name\""},
      {with_group("      ssh_keys: [\"https://example.org/me.keys\"]\n"),
       "f.yaml:4:18: config.host_groups[0].ssh_keys[0]: \"https://example.org/me.keys\" is a place where a key is, not "
       "the key",
       "write the public key itself: \"ssh-ed25519 AAAA… name\""},
      {with_group("      ssh_keys: [mykey]\n"),
       "f.yaml:4:18: config.host_groups[0].ssh_keys[0]: is no public key of OpenSSH",
       "write a line of a .pub file: \"ssh-ed25519 AAAA… name\""},
      {with_group("      userdata: {packages: [nginx]}\n"),
       "f.yaml:4:17: config.host_groups[0].userdata: expected a text, got a section", ""},
      {with_group("      userdata: \"packages: [nginx]\"\n"),
       "f.yaml:4:17: config.host_groups[0].userdata: begins with \"packages: [nginx]\"",
       "begin it with #cloud-config, or with #!/bin/sh for a script"},
      {with_group("      dns_servers: [192.0.2.53]\n"),
       "f.yaml:4:20: config.host_groups[0].dns_servers: without a section \"network\"",
       "the network's conflist says which name servers"},
      {with_group("      network_name: lan\n      network: {mode: isolated}\n"),
       "f.yaml:4:21: config.host_groups[0].network_name: and \"network\": two ways to say which network",
       "leave one of them out"},
      {with_network("        mode: isolatd\n"),
       "f.yaml:5:15: config.host_groups[0].network.mode: \"isolatd\" is none of bridge, isolated, macvtap",
       "did you mean \"isolated\"?"},
      {with_network("        mode: isolated\n        drp: []\n"),
       "f.yaml:6:9: config.host_groups[0].network.drp: unknown key", "did you mean \"drop\"?"},
      {with_network("        mode: isolated\n        gateway: 192.0.2.1/24\n"),
       "f.yaml:6:18: config.host_groups[0].network.gateway: has no meaning in mode \"isolated\", only in bridge, "
       "macvtap",
       "take it out, or change the mode"},
      {with_network("        mode: isolated\n        range: 169.254.100.1/22\n"),
       "f.yaml:6:16: config.host_groups[0].network.range: \"169.254.100.1/22\" has host bits set",
       "write \"169.254.100.0/22\""},
      {with_network("        mode: isolated\n        range: 169.254.100.0/31\n"),
       "f.yaml:6:16: config.host_groups[0].network.range: \"169.254.100.0/31\" has no /30 blocks",
       "an IPv4 CIDR of /30 or larger"},
      {with_network("        mode: isolated\n        drop: 192.168.1.0/24\n"),
       "f.yaml:6:15: config.host_groups[0].network.drop: expected a list, got \"192.168.1.0/24\"",
       "write [\"192.168.1.0/24\"]"},
      {with_network("        mode: isolated\n        drop:\n          - 192.0.2.0/24\n          -\n"),
       "f.yaml:7:11: config.host_groups[0].network.drop[1]: expected a text, got nothing", ""},
      {with_network("        gateway: 192.168.137.1\n"),
       "f.yaml:5:18: config.host_groups[0].network.gateway: \"192.168.137.1\" has no prefix length",
       "write the subnet's: \"192.168.137.1/24\""},
      {with_network("        gateway: 192.168.137.0/24\n"),
       "f.yaml:5:18: config.host_groups[0].network.gateway: 192.168.137.0 is the subnet's network address",
       "write the gateway's own, \"192.168.137.1/24\""},
      {with_network("        range: 192.0.2.2-192.0.2.9\n"),
       "f.yaml:5:16: config.host_groups[0].network.range: without \"gateway\": then the subnet is a free one of this "
       "host",
       "write the address that the bridge is to have, with its subnet: gateway: 192.168.137.1/24"},
      {with_network("        gateway: 192.0.2.1/24\n        range: 198.51.100.2-198.51.100.9\n"),
       "f.yaml:6:16: config.host_groups[0].network.range: 198.51.100.2 is not in the gateway's subnet 192.0.2.0/24",
       ""},
      {with_network("        mode: macvtap\n        gateway: 192.0.2.1/24\n        range: 192.0.2.1-192.0.2.1\n"),
       "f.yaml:7:16: config.host_groups[0].network.range: 192.0.2.1-192.0.2.1 holds only the gateway's own address, "
       "which no VM gets",
       "add addresses to it"},
      {with_network("        gateway: 192.0.2.1/24\n        addresses: [192.0.2.1]\n"),
       "f.yaml:6:21: config.host_groups[0].network.addresses[0]: is the gateway's address", ""},
      {with_network("        gateway: 192.0.2.1/24\n        addresses: [192.0.2.2/25]\n"),
       "f.yaml:6:21: config.host_groups[0].network.addresses[0]: has another prefix length than \"gateway\" "
       "192.0.2.1/24",
       ""},
      {with_network("        gateway: 192.0.2.1/24\n        addresses: [192.0.2.2, 192.0.2.2]\n"),
       "f.yaml:6:32: config.host_groups[0].network.addresses[1]: 192.0.2.2 is there twice", ""},
      {with_network("        gateway: 192.0.2.1/24\n        addresses: [192.0.2.2]\n      count: 2\n"),
       "f.yaml:7:14: config.host_groups[0].count: 2 VMs, but \"addresses\" has only 1",
       "add addresses, or lower the count"},
      {with_network("        gateway: 192.0.2.1/24\n        bridge: a-bridge-of-a-name\n"),
       "f.yaml:6:17: config.host_groups[0].network.bridge: \"a-bridge-of-a-name\" is no name of an interface",
       "1-15 bytes without '/', ':' or white space"},
      {with_network("        gateway: 192.0.2.1/24\n        tap_prefix: elevenbytes\n"),
       "f.yaml:6:21: config.host_groups[0].network.tap_prefix: \"elevenbytes\" cannot begin an interface's name",
       "1-10 bytes without '/', ':' or white space"},
      {with_network("        mode: macvtap\n        range: 192.0.2.9-192.0.2.10\n"),
       "f.yaml:6:16: config.host_groups[0].network.range: without \"gateway\": the LAN's DHCP server chooses the "
       "addresses",
       "write the LAN's router with its subnet, gateway: 192.168.1.1/24, or take this out"},
      {with_network("        mode: macvtap\n        addresses: [192.0.2.9]\n"),
       "f.yaml:6:20: config.host_groups[0].network.addresses: without \"gateway\": the LAN's DHCP server chooses the "
       "addresses",
       "write the LAN's router with its subnet, gateway: 192.168.1.1/24, or take this out"},
      {with_network("        mode: macvtap\n        bridge: br0\n"),
       "f.yaml:6:17: config.host_groups[0].network.bridge: has no meaning in mode \"macvtap\", only in bridge",
       "take it out, or change the mode"},
      {with_network("        mode: macvtap\n        parent: an interface\n"),
       "f.yaml:6:17: config.host_groups[0].network.parent: \"an interface\" is no name of an interface",
       "1-15 bytes without '/', ':' or white space"},
      {with_network("        mode: macvtap\n        gateway: 192.0.2.1/24\n        range: 198.51.100.2-198.51.100.3\n"),
       "f.yaml:7:16: config.host_groups[0].network.range: 198.51.100.2 is not in the gateway's subnet 192.0.2.0/24",
       ""},
      {with_network("        mode: macvtap\n      dns_servers: [192.0.2.53]\n"),
       "f.yaml:6:20: config.host_groups[0].dns_servers: where the LAN's DHCP server gives the addresses: it names the "
       "name servers too",
       "take it out, or write a \"gateway\""},
      {with_network("        gateway: 192.0.2.1/24\n        default: deny\n"),
       "f.yaml:6:18: config.host_groups[0].network.default: \"deny\" is none of drop, allow", "use one of drop, allow"},
  };
  for (const Case& wrong : cases) {
    CAPTURE(wrong.text);
    const Error error = error_of(wrong.text);
    CHECK(error.message == wrong.message);
    CHECK(error.hint == wrong.hint);
  }
}

TEST_CASE("host groups: values that the libraries refuse are told with their place") {
  for (const auto& [lines, place] : std::vector<std::pair<std::string, std::string>>{
           {"        mode: isolated\n        drop: [192.0.2.1/24]\n",
            "f.yaml:6:16: config.host_groups[0].network.drop[0]: "},
           {"        mode: isolated\n        allow: [example.org]\n",
            "f.yaml:6:17: config.host_groups[0].network.allow[0]: "},
           {"        mode: isolated\n        range: 169.254\n", "f.yaml:6:16: config.host_groups[0].network.range: "},
           {"        gateway: 192.0.2.1/24\n        range: 192.0.2.9-192.0.2.2\n",
            "f.yaml:6:16: config.host_groups[0].network.range: "},
           {"        gateway: 192.0.2.1/24\n        addresses: [192.0.2.2.2]\n",
            "f.yaml:6:21: config.host_groups[0].network.addresses[0]: "}}) {
    const Error error = error_of(with_network(lines));
    INFO(error.message);
    CHECK(error.message.starts_with(place));
    CHECK(error.kind == Kind::kInvalidConfig);
  }
}

TEST_CASE("host groups: two macvtap groups of a file share no address") {
  const auto with = [](const std::string& a, const std::string& b) {
    return "config:\n  host_groups:\n    - {name: a, network: {mode: macvtap" + a +
           "}}\n    - {name: b, network: {mode: macvtap" + b + "}}\n";
  };
  const std::string gateway = ", gateway: 192.0.2.1/24";
  CHECK(parse_host_groups(with("", ""), "f"));
  CHECK(parse_host_groups(with(gateway, ""), "f"));
  CHECK(error_of(with(gateway, gateway)).message.ends_with("group \"a\" has 192.0.2.220 too"));
  CHECK(parse_host_groups(with(gateway, gateway + ", range: 192.0.2.100-192.0.2.219"), "f"));
  CHECK(error_of(with(gateway, gateway + ", range: 192.0.2.100-192.0.2.220")).message.ends_with("192.0.2.220 too"));
  CHECK(
      error_of(with(gateway, gateway + ", addresses: [192.0.2.9, 192.0.2.254]")).message.ends_with("192.0.2.254 too"));
  CHECK(parse_host_groups(with(", gateway: 192.0.2.1/27", ", gateway: 192.0.2.33/27"), "f"));
  CHECK(error_of(with(", gateway: 192.0.2.1/27", gateway + ", addresses: [192.0.2.30]"))
            .message.ends_with("192.0.2.30 too"));
}

TEST_CASE("host groups: two groups of a file share neither bridge nor subnet") {
  const std::string two =
      "config:\n  host_groups:\n"
      "    - {name: a, network: {bridge: br0, gateway: 192.0.2.1/24}}\n"
      "    - {name: b, network: {bridge: BRIDGE, gateway: GATEWAY}}\n";
  const auto with = [&](const std::string& bridge, const std::string& gateway) {
    std::string text = two;
    text.replace(text.find("BRIDGE"), 6, bridge);
    text.replace(text.find("GATEWAY"), 7, gateway);
    return text;
  };
  CHECK(parse_host_groups(with("br1", "198.51.100.1/24"), "f"));
  CHECK(error_of(with("br0", "198.51.100.1/24")).message.ends_with("group \"a\" has the bridge \"br0\" too"));
  CHECK(error_of(with("br1", "192.0.2.129/25")).message.ends_with("group \"a\" has the subnet 192.0.2.0/24 too"));
}

TEST_CASE("host groups: a file that grows by aliases or nesting is refused") {
  std::string bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n";
  for (char c = 'b'; c <= 'h'; ++c) {
    const std::string last(1, static_cast<char>(c - 1));
    bomb += std::string(1, c) + ": &" + c + " [*" + last;
    for (int i = 0; i < 9; ++i) bomb += ", *" + last;
    bomb += "]\n";
  }
  CHECK(error_of(bomb).message.ends_with("too many values"));
  CHECK(error_of(std::string(40, '[') + std::string(40, ']')).message.ends_with("too deeply nested"));
}

TEST_CASE("host groups: the path of a file is kept without links, an absent one is an error") {
  const test::TempFolder folder;
  folder.write("real.yaml", "config: {host_groups: [{name: a}]}\n");
  std::filesystem::create_symlink("real.yaml", folder.file("link.yaml"));
  const auto groups = read_host_groups(folder.file("link.yaml"));
  REQUIRE(groups);
  CHECK(groups->file == std::filesystem::canonical(folder.file("real.yaml")).string());
  CHECK(read_host_groups(folder.file("none.yaml")).error().kind == Kind::kNotFound);
}

// "# error: 4:7: …" at a file's end.
static std::string told_error(const std::string& text) {
  const std::string mark = "# error: ";
  const size_t at = text.find(mark);
  return at == std::string::npos ? "" : text.substr(at + mark.size(), text.find('\n', at) - at - mark.size());
}

TEST_CASE("host groups: files with a mistake are refused, with the place that they tell of") {
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(GROUPS_DATA) + "/bad")) {
    CAPTURE(entry.path().filename());
    const auto text = read_file(entry.path());
    REQUIRE(text);
    const Error error = error_of(*text);
    const std::string told = told_error(*text);
    CHECK(error.message.starts_with("f.yaml:"));
    if (!told.empty()) CHECK(error.message == "f.yaml:" + told);
    ++files;
  }
  CHECK(files > 40);
}

// The keys that a schema's object has.
static std::vector<std::string> keys_of(const cni::Json& object) {
  std::vector<std::string> keys;
  for (const auto& [name, value] : object["properties"].items()) keys.push_back(name);
  std::ranges::sort(keys);
  return keys;
}

static std::vector<std::string> names_of(std::span<const Key> keys) {
  std::vector<std::string> names;
  for (const Key& key : keys) names.emplace_back(key.name);
  std::ranges::sort(names);
  return names;
}

TEST_CASE("host groups: the schema in docs/ has the reader's keys and no others") {
  const auto text = read_file(std::string(GROUPS_DATA) + "/../../../../docs/host-groups.schema.json");
  REQUIRE(text);
  const auto schema = cni::parse_json(*text);
  REQUIRE(schema);
  const cni::Json& group = (*schema)["definitions"]["group"];
  CHECK(keys_of(*schema) == names_of(file_keys()));
  CHECK(keys_of((*schema)["properties"]["config"]) == names_of(config_keys()));
  CHECK(keys_of(group) == names_of(group_keys()));
  CHECK(keys_of(group["properties"]["bandwidth"]) == names_of(bandwidth_keys()));
  CHECK(keys_of((*schema)["definitions"]["network"]) == names_of(network_keys()));
}

TEST_CASE("host groups: every key stands in the documentation") {
  const auto text = read_file(std::string(GROUPS_DATA) + "/../../../../docs/host-groups.md");
  REQUIRE(text);
  for (const auto keys : {file_keys(), config_keys(), group_keys(), network_keys(), bandwidth_keys(), image_keys()})
    for (const Key& key : keys) {
      const std::string row = "\n| `" + std::string(key.name) + "` |";
      CAPTURE(row);
      CHECK(text->find(row) != std::string::npos);
    }
}

}  // namespace slicer::runner
