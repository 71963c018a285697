#include "lib/cni/attachment.h"

#include <doctest/doctest.h>

#include <set>

#include "lib/cni/net_conf.h"

namespace slicer::cni {
namespace {

const Attachment kDemo{.network = "slicer", .container_id = "demo-1", .ifname = "vmtap0"};
const std::string kMachine = "0123456789abcdef0123456789abcdef";

NetConf configuration(const std::string& keys) {
  return parse_net_conf(R"({"cniVersion": "1.0.0", "name": "net", "type": "t")" + keys + "}").value();
}

}  // namespace

// Links and MAC addresses of running hosts are found by these values: they never change.
TEST_CASE("Attachment: names, group and MAC are a contract") {
  CHECK(kDemo.kernel_name('v') == "slvf63xm7i6by5g");
  CHECK(kDemo.kernel_name('x') == "slxf63xm7i6by5g");
  CHECK(kDemo.kernel_name_prefix('v') == "slvf63x");
  CHECK(kDemo.alias() == "slicer:slicer/demo-1/vmtap0");
  CHECK(kDemo.alias_prefix() == "slicer:slicer/");
  CHECK(network_alias("slicer") == "slicer:slicer");
  CHECK(kDemo.group() == 1373692838);
  CHECK(kDemo.group_in_network() == 277734310);
  CHECK_FALSE(is_group_in_network(0, "slicer"));
  CHECK(kDemo.guest_mac(kMachine).text() == "fa:02:83:d8:19:a2");
  CHECK(kDemo.guest_mac("").text() == "ee:5a:9d:9a:96:5f");
  CHECK(Attachment{"slicer", "demo-2", "vmtap0"}.guest_mac(kMachine).text() == "0a:36:0c:30:92:62");
  CHECK(Attachment{"lan", "demo-1", "vmtap0"}.kernel_name('v') == "slv6gf2qsrmxf2g");
  CHECK(Attachment{"n", "c", "i"}.kernel_name('b') == "slbbufg7lrv52vh");
}

TEST_CASE("Attachment: the guest's MAC depends on network and VM, not on the host's interface name") {
  Attachment moved = kDemo;
  moved.ifname = "vmtap1";
  CHECK(moved.guest_mac(kMachine) == kDemo.guest_mac(kMachine));
  CHECK(moved.kernel_name('v') != kDemo.kernel_name('v'));
  CHECK(moved.group() != kDemo.group());
}

TEST_CASE("Attachment: kernel names fit IFNAMSIZ, differ, and begin with their network's prefix") {
  std::set<std::string> names;
  for (int i = 0; i < 2000; ++i) {
    const Attachment attachment{"net" + std::to_string(i % 7), "vm" + std::to_string(i), "tap0"};
    const std::string name = attachment.kernel_name('v');
    CHECK(name.size() == 15);
    CHECK(name.starts_with(attachment.kernel_name_prefix('v')));
    CHECK(check_ifname(name).has_value());
    CHECK(attachment.group() != 0);
    CHECK(is_group_in_network(attachment.group_in_network(), attachment.network));
    CHECK_FALSE(is_group_in_network(attachment.group_in_network(), "other"));
    names.insert(name);
  }
  CHECK(names.size() == 2000);
}

TEST_CASE("Attachment: an alias that is too long is cut and told apart by its hash") {
  const Attachment longest{std::string(150, 'n'), std::string(150, 'c'), "eth0"};
  CHECK(longest.alias().size() == 255);
  CHECK(longest.alias().ends_with("#06b47299147499ef"));
  CHECK(longest.alias().starts_with(longest.alias_prefix()));
  Attachment other = longest;
  other.ifname = "eth1";
  CHECK(other.alias() != longest.alias());
  // 7 + 1 + 1 + 4 bytes beside network and container: 242 bytes are the most that stay whole.
  CHECK(Attachment{std::string(42, 'n'), std::string(200, 'c'), "eth0"}.alias().ends_with("c/eth0"));
  CHECK(Attachment{std::string(42, 'n'), std::string(201, 'c'), "eth0"}.alias().find('#') != std::string::npos);
}

TEST_CASE("Attachment: the alias prefix of the longest network name survives the cut") {
  const Attachment attachment{std::string(200, 'n'), std::string(200, 'c'), "eth0"};
  CHECK(check_network_name(attachment.network).has_value());
  CHECK(attachment.alias().starts_with(attachment.alias_prefix()));
}

TEST_CASE("requested_mac: runtimeConfig before args.cni before CNI_ARGS") {
  const std::string runtime = R"(, "runtimeConfig": {"mac": "02:00:00:00:00:01"})";
  const std::string args = R"(, "args": {"cni": {"mac": "02:00:00:00:00:02"}})";
  const Environment with_arg{.args = {{"MAC", "02:00:00:00:00:03"}}};
  CHECK(requested_mac(configuration(runtime + args), with_arg).value()->text() == "02:00:00:00:00:01");
  CHECK(requested_mac(configuration(args), with_arg).value()->text() == "02:00:00:00:00:02");
  CHECK(requested_mac(configuration(""), with_arg).value()->text() == "02:00:00:00:00:03");
  CHECK(!requested_mac(configuration(""), {}).value());
  CHECK(!requested_mac(configuration(R"(, "runtimeConfig": {"mac": ""}, "args": null)"), {}).value());
}

TEST_CASE("requested_mac: a bad one is an error of the place where it stands") {
  const struct {
    const char* keys;
    const char* arg;
    Kind kind;
    const char* place;
  } cases[] = {
      {R"(, "runtimeConfig": {"mac": "x"})", "", Kind::kInvalidConfig, "runtimeConfig"},
      {R"(, "runtimeConfig": {"mac": 5})", "", Kind::kInvalidConfig, "runtimeConfig"},
      {R"(, "runtimeConfig": [1])", "", Kind::kInvalidConfig, "mac"},
      {R"(, "args": {"cni": {"mac": "01:00:5e:00:53:01"}})", "", Kind::kInvalidConfig, "args"},
      {R"(, "args": {"cni": "x"})", "", Kind::kInvalidConfig, "mac"},
      {R"(, "args": 1)", "", Kind::kInvalidConfig, "args"},
      {"", "02:00", Kind::kInvalidEnvironment, "CNI_ARGS MAC"},
  };
  for (const auto& test : cases) {
    const std::string keys = test.keys;
    CAPTURE(keys);
    const auto mac = requested_mac(configuration(test.keys), {.args = {{"MAC", test.arg}}});
    REQUIRE(!mac);
    CHECK(mac.error().kind == test.kind);
    CHECK(mac.error().message.find(test.place) != std::string::npos);
  }
}

}  // namespace slicer::cni
