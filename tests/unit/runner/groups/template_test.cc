// What `new` prints, and what --drop and --allow become.

#include "runner/groups/template.h"

#include <doctest/doctest.h>

#include "runner/commands/policy_options.h"
#include "runner/groups/yaml.h"

namespace slicer::runner {
namespace {

HostNetworks host() {
  HostNetworks networks;
  networks.lan = *addr::parse_cidr("192.0.2.0/24");
  networks.free = *addr::parse_cidr("192.168.77.0/24");
  return networks;
}

std::string text_of(const NewGroup& wanted) {
  const Result<std::string> text = new_group_text(wanted, host());
  INFO((text ? "" : text.error().message));
  REQUIRE(text);
  return *text;
}

// The lines that are no comments, without the comments behind values.
std::string bare(const std::string& text) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    std::string line = text.substr(at, end - at);
    if (const size_t comment = line.find('#'); comment != std::string::npos) line.resize(comment);
    line.resize(line.find_last_not_of(' ') + 1);
    if (!line.empty()) result += line + "\n";
    at = end + 1;
  }
  return result;
}

}  // namespace

TEST_CASE("new: isolated, in the reference's form") {
  NewGroup wanted{.name = "sandbox", .net = "isolated"};
  CHECK(bare(text_of(wanted)) ==
        "config:\n"
        "  host_groups:\n"
        "    - name: sandbox\n"
        "      network:\n"
        "        mode: \"isolated\"\n");
  wanted.drop = {"192.168.1.0/24"};
  CHECK(bare(text_of(wanted)) ==
        "config:\n"
        "  host_groups:\n"
        "    - name: sandbox\n"
        "      network:\n"
        "        mode: \"isolated\"\n"
        "        drop: [\"192.168.1.0/24\"]\n");
  wanted.isolated_range = "169.254.100.0/22";
  wanted.count = 2;
  wanted.allow = {"192.168.1.7:3128", "[2001:db8::7]:443"};
  CHECK(bare(text_of(wanted)) ==
        "config:\n"
        "  host_groups:\n"
        "    - name: sandbox\n"
        "      count: 2\n"
        "      network:\n"
        "        mode: \"isolated\"\n"
        "        range: \"169.254.100.0/22\"\n"
        "        drop: [\"192.168.1.0/24\"]\n"
        "        allow: [\"192.168.1.7:3128\", \"[2001:db8::7]:443\"]\n");
}

TEST_CASE("new: isolated without lists shows how to close the host's own LAN, and why") {
  const std::string text = text_of({.name = "sandbox", .net = "isolated"});
  CHECK(text.find("Without drop and allow the VMs reach your LAN") != std::string::npos);
  CHECK(text.find("        # drop: [\"192.0.2.0/24\"]\n") != std::string::npos);
  CHECK(text_of({.name = "sandbox", .net = "isolated", .drop = {"192.0.2.0/24"}}).find("your LAN") ==
        std::string::npos);
  const Result<std::string> unknown = new_group_text({.name = "sandbox", .net = "isolated"}, {});
  REQUIRE(unknown);
  CHECK(unknown->find("put your LAN's subnet in") != std::string::npos);
}

TEST_CASE("new: the commented lines are valid once their # is gone") {
  std::string text = text_of({.name = "sandbox", .net = "isolated"});
  for (const char* line : {"# count:", "# range:", "# drop:"}) {
    const size_t at = text.find(line);
    REQUIRE(at != std::string::npos);
    text.erase(at, 2);
  }
  const Result<HostGroups> groups = parse_host_groups(text, "f");
  INFO((groups ? "" : groups.error().message));
  REQUIRE(groups);
  CHECK(groups->groups[0].count == 1);
  CHECK(groups->groups[0].network->isolated_range);
  CHECK(groups->groups[0].network->drop == std::vector<std::string>{"192.0.2.0/24"});
}

TEST_CASE("new: bridge is the default, in the reference's form") {
  NewGroup wanted{.name = "vm", .count = 3, .cidr = "192.168.137.0/24"};
  const std::string form =
      "config:\n"
      "  host_groups:\n"
      "    - name: vm\n"
      "      count: 3\n"
      "      network:\n"
      "        bridge: brvm0\n"
      "        tap_prefix: vmtap\n"
      "        gateway: 192.168.137.1/24\n";
  CHECK(bare(text_of(wanted)) == form);
  wanted.range = "192.168.137.20-192.168.137.80";
  CHECK(bare(text_of(wanted)) == form + "        range: 192.168.137.20-192.168.137.80\n");
  CHECK(text_of({.name = "vm"}).find("gateway: 192.168.77.1/24\n") != std::string::npos);
}

TEST_CASE("new: macvtap, in the reference's form") {
  NewGroup wanted{.name = "lan", .net = "macvtap", .count = 1};
  const std::string form =
      "config:\n"
      "  host_groups:\n"
      "    - name: lan\n"
      "      count: 1\n"
      "      network:\n"
      "        mode: macvtap\n";
  CHECK(bare(text_of(wanted)) == form);
  wanted.parent = "eth1";
  CHECK(bare(text_of(wanted)) == form + "        parent: eth1\n");
  wanted.cidr = "192.168.1.0/24";
  CHECK(bare(text_of(wanted)) == form + "        parent: eth1\n        gateway: 192.168.1.1/24\n");
  wanted.range = "192.168.1.100-192.168.1.200";
  wanted.drop = {"198.51.100.0/24"};
  CHECK(bare(text_of(wanted)) == form +
                                     "        parent: eth1\n        gateway: 192.168.1.1/24\n"
                                     "        range: 192.168.1.100-192.168.1.200\n"
                                     "        drop: [\"198.51.100.0/24\"]\n");
}

TEST_CASE("new: cni names a network") {
  CHECK(bare(text_of({.name = "vm", .net = "cni"})) ==
        "config:\n"
        "  host_groups:\n"
        "    - name: vm\n"
        "  network_name: \"slicer\"\n");
}

TEST_CASE("new: the machine's values stand behind the count") {
  NewGroup wanted{.name = "vm", .net = "cni", .count = 1, .vcpus = 2, .ram = "4", .hypervisor = "qemu", .image = "/i"};
  CHECK(bare(text_of(wanted)) ==
        "config:\n"
        "  host_groups:\n"
        "    - name: vm\n"
        "      count: 1\n"
        "      vcpu: 2\n"
        "      ram_gb: 4\n"
        "      hypervisor: qemu\n"
        "      image: \"/i\"\n"
        "  network_name: \"slicer\"\n");
  wanted.ram = "512M";
  CHECK(text_of(wanted).find("      ram_mb: 512\n") != std::string::npos);
  wanted.ram = "much";
  CHECK_FALSE(new_group_text(wanted, host()));
  CHECK_FALSE(new_group_text({.name = "vm", .image = "relative"}, host()));
  CHECK(text_of({.name = "vm", .hypervisor = "firecracker"}).find("      hypervisor: firecracker\n") !=
        std::string::npos);
  CHECK_FALSE(new_group_text({.name = "vm", .hypervisor = "xen"}, host()));
}

TEST_CASE("new: options that make no sense are refused") {
  struct Case {
    NewGroup wanted;
    const char* message;
  };
  for (const auto& [wanted, message] : std::vector<Case>{
           {{.name = "lan", .net = "macvtap", .range = "192.0.2.2-192.0.2.3"},
            "--range without --cidr: the LAN's DHCP server chooses the addresses"},
           {{.name = "a", .parent = "eth1"}, "--parent has no meaning with --net=bridge"},
           {{.name = "a", .net = "isolated", .cidr = "192.0.2.0/24"}, "--cidr has no meaning with --net=isolated"},
           {{.name = "a", .net = "isolated", .range = "192.0.2.0/24"},
            "--range (the blocks are chosen by --isolated-range) has no meaning with --net=isolated"},
           {{.name = "a", .isolated_range = "169.254.100.0/22"}, "--isolated-range has no meaning with --net=bridge"},
           {{.name = "a", .cidr = "192.0.2.7/24"}, "--cidr: \"192.0.2.7/24\" has host bits set"},
           {{.name = "a", .net = "cni", .drop = {"192.0.2.0/24"}},
            "--drop and --allow have no meaning with --net=cni"}}) {
    const Result<std::string> text = new_group_text(wanted, host());
    REQUIRE_FALSE(text);
    CHECK(text.error().message == message);
  }
  CHECK_FALSE(new_group_text({.name = "A_b"}, host()));
  CHECK_FALSE(new_group_text({.name = "a", .drop = {"lan"}}, host()));
  CHECK_FALSE(new_group_text({.name = "a", .cidr = "192.0.2.0/24", .range = "198.51.100.2-198.51.100.3"}, host()));
  CHECK_FALSE(new_group_text({.name = "a", .net = "isolated", .isolated_range = "169.254.100.1/22"}, host()));
}

TEST_CASE("policy options: a list that is not given is left to the network, 'none' clears it") {
  CHECK(policy_capability({}) == cni::Json::object());
  CHECK(policy_capability({.drop = {"192.0.2.0/24", "198.51.100.7:80"}}) ==
        cni::Json{{"policy", {{"drop", {"192.0.2.0/24", "198.51.100.7:80"}}}}});
  CHECK(*policy_capability({.drop = {"none"}, .allow = {""}, .fallback = "drop"}) ==
        cni::Json{{"policy", {{"drop", cni::Json::array()}, {"allow", cni::Json::array()}, {"default", "drop"}}}});
  CHECK_FALSE(policy_capability({.drop = {"none", "192.0.2.0/24"}}));
  CHECK(policy_capability({.allow = {"192.0.2.1/24"}}).error().message.starts_with("--allow: "));
}

}  // namespace slicer::runner
