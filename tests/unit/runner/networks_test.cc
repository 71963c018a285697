// runner/networks: pools as configurations give them, allocations as the disk has them, attachments.

#include <doctest/doctest.h>

#include "lib/base/whole_file.h"
#include "lib/netfilter/policy.h"
#include "runner/chain/runtime.h"
#include "runner/networks/attachments.h"
#include "runner/networks/facts.h"
#include "runner/networks/policy_view.h"
#include "runner/networks/pool.h"
#include "tests/unit/runner/temp_folder.h"

using namespace slicer;
using namespace slicer::runner;
using slicer::test::TempFolder;

namespace {

chain::Conflist network(const std::string& ipam, const std::string& keys = "") {
  const auto parsed = chain::parse_conflist(
      R"({"name": "n", "plugins": [{"type": "slicer-bridge", "ipam": )" + ipam + keys + "}]}", "f");
  REQUIRE(parsed);
  return *parsed;
}

Pool pool(const std::string& keys) {
  const auto found = find_pool(network(R"({"type": "slicer-ipam", )" + keys + "}"));
  REQUIRE(found);
  REQUIRE(*found);
  return **found;
}

std::string ranges(const Pool& pool) {
  std::string text;
  for (const addr::IpRange& range : pool.ranges) text += (text.empty() ? "" : " ") + range.text();
  return text;
}

}  // namespace

TEST_CASE("find_pool: every way to say which addresses") {
  struct Case {
    const char* keys;
    const char* ranges;
    uint64_t capacity;
    const char* gateway;
  };
  for (const Case& each : {
           Case{R"("subnet": "192.0.2.0/24")", "192.0.2.1-192.0.2.254", 253, "192.0.2.1"},
           Case{R"("subnet": "192.0.2.0/24", "gateway": "192.0.2.254")", "192.0.2.1-192.0.2.254", 253, "192.0.2.254"},
           Case{R"("subnet": "192.0.2.0/24", "rangeStart": "192.0.2.10", "rangeEnd": "192.0.2.19")",
                "192.0.2.10-192.0.2.19", 10, "192.0.2.1"},
           Case{R"("gateway": "192.0.2.1/24")", "192.0.2.220-192.0.2.254", 35, "192.0.2.1"},
           Case{R"("gateway": "192.0.2.1/24", "range": "192.0.2.5-192.0.2.8")", "192.0.2.5-192.0.2.8", 4, "192.0.2.1"},
           Case{R"("addresses": ["192.0.2.5/24", "192.0.2.9/24"], "gateway": "192.0.2.1")",
                "192.0.2.5-192.0.2.5 192.0.2.9-192.0.2.9", 2, "192.0.2.1"},
           Case{R"("ranges": [[{"subnet": "192.0.2.0/30"}], [{"subnet": "2001:db8::/126"}]])",
                "192.0.2.1-192.0.2.2 2001:db8::1-2001:db8::3", 3, "192.0.2.1"},
           Case{R"("subnet": "2001:db8::/48")", "2001:db8::1-2001:db8:0:ffff:ffff:ffff:ffff:ffff", UINT64_MAX,
                "2001:db8::1"},
       }) {
    CAPTURE(each.keys);
    const Pool found = pool(each.keys);
    CHECK(ranges(found) == each.ranges);
    CHECK(found.capacity() == each.capacity);
    CHECK(found.gateways.at(0).text() == each.gateway);
  }
  CHECK(pool(R"("subnet": "169.254.100.0/22", "block": 30)").capacity() == 256);
}

TEST_CASE("find_pool: none of another IPAM's, an error for a wrong value") {
  const auto dhcp = find_pool(network(R"({"type": "dhcp"})"));
  REQUIRE(dhcp);
  CHECK_FALSE(*dhcp);
  const auto bad = find_pool(network(R"({"type": "host-local", "subnet": "192.0.2.0"})"));
  REQUIRE_FALSE(bad);
  CHECK(bad.error().message.starts_with("\"ipam\" of 'slicer-bridge': \"subnet\": "));
}

TEST_CASE("read_facts: what the main plugin makes") {
  const auto facts = read_facts(network(R"({"type": "slicer-ipam", "subnet": "192.0.2.0/24"})",
                                        R"(, "bridge": "br7", "isDefaultGateway": true, "ipMasq": true)"));
  REQUIRE(facts);
  CHECK(facts->bridge == "br7");
  CHECK(facts->is_gateway);
  CHECK(facts->masquerade);
  CHECK(facts->firewall.empty());
  CHECK(read_facts(network("{}"))->bridge == "cni0");
}

TEST_CASE("list_allocations: host-local's files, and which are from before this boot") {
  const TempFolder dir;
  Pool of_disk = pool(R"("subnet": "192.0.2.0/24")");
  of_disk.data_dir = dir.path();
  CHECK(list_allocations(of_disk, "n")->empty());
  dir.folder("n");
  dir.folder(".slicer/n");
  const std::string boot = read_file("/proc/sys/kernel/random/boot_id").value();
  dir.write("n/192.0.2.10", "vm-b\r\neth0");
  dir.write("n/192.0.2.9", "vm-a\r\ntap0");
  dir.write("n/192.0.2.11", "old style id");
  dir.write("n/192.0.2.12", "");  // what a crash of host-local leaves
  dir.write("n/lock", "");
  dir.write("n/last_reserved_ip.0", "192.0.2.10");
  dir.write(".slicer/n/192.0.2.9", "vm-a\ntap0\nn\nanother-boot\nend\n");
  dir.write(".slicer/n/192.0.2.10", "vm-b\neth0\nn\n" + boot + "end\n");
  dir.write(".slicer/n/192.0.2.11", "somebody else\ntap0\nn\nanother-boot\nend\n");
  const auto found = list_allocations(of_disk, "n");
  REQUIRE(found);
  REQUIRE(found->size() == 3);
  CHECK((*found)[0].container_id == "vm-a");
  CHECK((*found)[0].earlier_boot);
  CHECK((*found)[1].container_id == "vm-b");
  CHECK((*found)[1].ifname == "eth0");
  CHECK_FALSE((*found)[1].earlier_boot);
  CHECK((*found)[2].container_id == "old style id");
  CHECK_FALSE((*found)[2].earlier_boot);
  CHECK(count_taken(*found) == 2);
}

TEST_CASE("list_allocations: blocks of all networks are in one store, and a record says whose each is") {
  const TempFolder dir;
  Pool blocks = pool(R"("subnet": "169.254.100.0/22", "block": 30)");
  blocks.data_dir = dir.path();
  dir.folder("_blocks");
  dir.folder(".slicer/_blocks");
  const std::string boot = read_file("/proc/sys/kernel/random/boot_id").value();
  for (const auto& [ip, network] : {std::pair{"169.254.100.2", "n"}, std::pair{"169.254.100.6", "other"}}) {
    dir.write(std::string("_blocks/") + ip, "vm-a\r\ntap0");
    dir.write(std::string(".slicer/_blocks/") + ip, std::string("vm-a\ntap0\n") + network + "\n" + boot + "end\n");
  }
  dir.write("_blocks/169.254.100.10", "vm-b\r\ntap0");  // no record: nobody knows whose
  const auto found = list_allocations(blocks, "n");
  REQUIRE(found);
  REQUIRE(found->size() == 1);
  CHECK(found->front().ip.text() == "169.254.100.2");
}

TEST_CASE("orphaned_entries: only the runner's own, only of VMs without state") {
  const TempFolder dir;
  const Settings settings{.cache_dir = dir.file("cni"), .state_dir = dir.file("state")};
  const chain::Cache cache(settings.cache_dir);
  const auto store = [&](const char* id, const chain::CniArgs& args) {
    REQUIRE(cache.store({.key = {.network = "n", .container_id = id, .ifname = "tap0"}, .args = args}));
  };
  store("orphan", {{"IgnoreUnknown", "1"}, {chain::kVmArg, "orphan"}});
  store("stateful", {{chain::kVmArg, "stateful"}});
  store("pod", {{"K8S_POD_NAME", "pod"}});
  store("copied", {{chain::kVmArg, "orphan"}});
  dir.folder("state/stateful");
  const auto orphans = orphaned_entries(settings);
  REQUIRE(orphans);
  REQUIRE(orphans->size() == 1);
  CHECK(orphans->front().key.container_id == "orphan");
}

TEST_CASE("policy_summary: what is closed is called closed, by whichever list that was said") {
  const auto summary = [](std::initializer_list<const char*> drop, std::initializer_list<const char*> allow) {
    netfilter::Policy policy;
    for (const char* text : drop) policy.drop.push_back(*netfilter::parse_policy_entry(text));
    for (const char* text : allow) policy.allow.push_back(*netfilter::parse_policy_entry(text));
    PolicyView view;
    view.policy.emplace().policy = netfilter::compile_policy(policy);
    return policy_summary(view);
  };
  CHECK(summary({"192.0.2.0/24", "198.51.100.7"}, {}) == "allow all but 2");
  CHECK(summary({}, {"192.0.2.0/24"}) == "drop all but 1");
  CHECK(summary({"0.0.0.0/0"}, {}) == "drop all");
  CHECK(summary({"0.0.0.0/0"}, {"192.0.2.7"}) == "drop all but 1");
  CHECK(summary({"0.0.0.0/0"}, {"192.0.2.7:3128"}) == "drop all but 1");
  CHECK(summary({"0.0.0.0/0", "::/0"}, {"192.0.2.0/25", "198.51.100.1"}) == "drop all but 2");
  CHECK(policy_summary({}) == "no lists");
}
