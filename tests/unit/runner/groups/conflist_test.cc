// A group's network as a conflist: compared with files, which are also what the documentation shows.

#include <doctest/doctest.h>

#include "lib/base/whole_file.h"
#include "runner/groups/image_file.h"
#include "runner/groups/to_conflist.h"
#include "runner/groups/yaml.h"
#include "tests/unit/runner/temp_folder.h"

namespace slicer::runner {
namespace {

HostGroup first_group(const std::string& name) {
  const Result<HostGroups> groups = read_host_groups(std::string(GROUPS_DATA) + "/good/" + name + ".yaml");
  REQUIRE(groups);
  return groups->groups.front();
}

cni::Json golden(const std::string& name) {
  const Result<std::string> text = read_file(std::string(GROUPS_DATA) + "/conflist/" + name + ".conflist");
  REQUIRE(text);
  const Result<cni::Json> json = cni::parse_json(*text);
  REQUIRE(json);
  return *json;
}

}  // namespace

TEST_CASE("group conflist: each form gives the list of its file") {
  for (const std::string name : {"isolated", "isolated-range", "isolated-lists", "bridge", "bridge-range",
                                 "bridge-addresses", "everything", "macvtap", "macvtap-static", "macvtap-both"}) {
    CAPTURE(name);
    const cni::Json json = group_conflist_json(first_group(name));
    INFO(json.dump(2));
    CHECK(json == golden(name));
  }
}

TEST_CASE("group conflist: is a network that the chain runs") {
  const test::TempFolder folder;
  const auto bridge = group_network(first_group("bridge"), "vm.yaml", folder.path());
  REQUIRE(bridge);
  CHECK(bridge->name == "vm");
  CHECK(bridge->host_netns);
  CHECK(bridge->tap_prefix == "vmtap");
  CHECK(bridge->cni_version == "1.1.0");
  CHECK(chain::takes_capability(*bridge, "policy"));
  CHECK(chain::takes_capability(*bridge, "ips"));
  CHECK(chain::parse_conflist(bridge->bytes, "again"));
  const auto isolated = group_network(first_group("isolated"), "sandbox.yaml", folder.path());
  REQUIRE(isolated);
  CHECK_FALSE(isolated->host_netns);
  CHECK(isolated->plugins.size() == 2);
}

TEST_CASE("group conflist: an isolated group has its firewall without lists, too, a macvtap only with lists") {
  HostGroup group = first_group("isolated");
  group.network->drop.clear();
  const cni::Json plugins = group_conflist_json(group)["plugins"];
  REQUIRE(plugins.size() == 2);
  CHECK(plugins[1] == cni::Json{{"type", "slicer-firewall"}, {"capabilities", {{"policy", true}}}});
  group = first_group("macvtap");
  group.network->drop.clear();
  CHECK(group_conflist_json(group)["plugins"].size() == 1);
  group.network->fallback = "drop";
  CHECK(group_conflist_json(group)["plugins"].size() == 2);
}

TEST_CASE("group network: a name that a conflist has is refused, the one of network_name is loaded") {
  const test::TempFolder folder;
  folder.write("10-vm.conflist", R"({"name": "vm", "plugins": [{"type": "p"}]})");
  const auto taken = group_network(first_group("bridge"), "vm.yaml", folder.path());
  REQUIRE_FALSE(taken);
  CHECK(taken.error().kind == Kind::kExists);
  CHECK(taken.error().message ==
        "vm.yaml: host group \"vm\" has the name of the network in '" + folder.file("10-vm.conflist") + "'");

  HostGroup group = first_group("cni");
  CHECK(group_network(group, "f", folder.path()).error().kind == Kind::kNotFound);  // slicer
  group.network_name = "vm";
  const auto loaded = group_network(group, "f", folder.path());
  REQUIRE(loaded);
  CHECK(loaded->plugins[0].type == "p");
}

TEST_CASE("group capabilities: VM n asks for the n-th address and MAC") {
  const HostGroup group = first_group("bridge-addresses");
  CHECK(group_capabilities(group, 1) == cni::Json{{"ips", {"192.168.137.2/24"}}});
  CHECK(group_capabilities(group, 3) == cni::Json{{"ips", {"192.168.137.4/24"}}});
  CHECK(group_capabilities(group, 0) == cni::Json::object());
  const auto fourth = group_capabilities(group, 4);
  REQUIRE_FALSE(fourth);
  CHECK(fourth.error().kind == Kind::kExhausted);
  CHECK(fourth.error().message == "host group 'vm': \"addresses\" has nothing for VM 4: there are 3");
  CHECK(group_capabilities(first_group("bridge"), 1) == cni::Json::object());
  CHECK(group_capabilities(first_group("guest"), 2) == cni::Json{{"mac", "52:54:00:12:34:57"}});
  CHECK_FALSE(group_capabilities(first_group("guest"), 3));
}

TEST_CASE("group capabilities: bandwidth goes to the network's own plugin, unless the hypervisor limits by itself") {
  HostGroup group;
  group.name = "worker";
  group.bandwidth = Bandwidth{.ingress_rate = 100, .ingress_burst = 10};
  CHECK(group_capabilities(group, 1) == cni::Json{{"bandwidth", {{"ingressRate", 100}, {"ingressBurst", 10}}}});
  group.network = GroupNetwork{.gateway = addr::parse_cidr("192.168.137.1/24").value()};
  for (const NetworkMode mode : {NetworkMode::kBridge, NetworkMode::kIsolated, NetworkMode::kMacvtap}) {
    group.network->mode = mode;
    const auto declared = [&](const char* hypervisor) {
      group.hypervisor = hypervisor;
      return group_conflist_json(group)["plugins"][0]["capabilities"].value("bandwidth", false);
    };
    CHECK(declared("qemu"));
    CHECK(declared("cloud-hypervisor"));
    CHECK_FALSE(declared("firecracker"));
  }
  CHECK(group_capabilities(group, 1)->contains("bandwidth"));
  group.bandwidth.reset();
  group.hypervisor = "qemu";
  CHECK_FALSE(group_conflist_json(group)["plugins"][0]["capabilities"].contains("bandwidth"));
}

TEST_CASE("group image: a folder, or the parts that a file names") {
  const test::TempFolder folder;
  folder.write("image.yaml", "kernel: vmlinux\ninitrd: /boot/initrd\ncmdline: quiet root=/dev/vda\n");
  const auto parts = read_group_image(folder.file("image.yaml"));
  REQUIRE(parts);
  CHECK(parts->folder.empty());
  CHECK(parts->parts.kernel == folder.file("vmlinux"));
  CHECK(parts->parts.initrd == "/boot/initrd");
  CHECK(parts->parts.disk == "");
  CHECK(parts->parts.cmdline == "quiet root=/dev/vda");
  CHECK(read_group_image(folder.path())->folder == folder.path());
  CHECK_FALSE(read_group_image(folder.path())->parts.kernel);
  CHECK(read_group_image("")->folder.empty());
  CHECK(read_group_image(folder.file("none")).error().kind == Kind::kNotFound);
  folder.write("disk.qcow2", "");
  CHECK(read_group_image(folder.file("disk.qcow2")).error().message ==
        "read image '" + folder.file("disk.qcow2") + "': neither a folder nor a YAML file");
  folder.write("image.yaml", "disk: disk.img\n");
  CHECK(read_group_image(folder.file("image.yaml")).error().message ==
        folder.file("image.yaml") + ":1:1: kernel: is missing: an image file needs one");
  folder.write("image.yaml", "kernl: vmlinux\n");
  CHECK(read_group_image(folder.file("image.yaml")).error().hint == "did you mean \"kernel\"?");
}

}  // namespace slicer::runner
