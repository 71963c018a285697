// slicer-run network and gc against the real plugins and kernel.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>

#include <filesystem>

#include "lib/base/unique_fd.h"
#include "lib/base/whole_file.h"
#include "tests/system/chain/operator.h"
#include "tests/system/fixture/snapshot.h"

using namespace slicer;
using namespace slicer::test;

namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
bool link_exists(const std::string& name) { return run({"ip", "link", "show", name}).ok(); }
std::string ruleset() { return run({"nft", "list", "ruleset"}).out; }
bool exists(const std::string& path) { return std::filesystem::exists(path); }

/// A host with the network `slicer` on slicer0.
struct OneNetwork : Host {
  OneNetwork() { write_list("51-slicer.conflist", network_list("slicer", "slicer0", "198.51.100.0/24")); }
};

}  // namespace

TEST_CASE("network list: every network with its file, plugins and version, broken files are told and fail") {
  const Host host;
  write_list("20-b.conflist", network_list("second", "br-b", "203.0.113.0/24"));
  write_list("10-a.conflist", network_list("first", "br-a", "198.51.100.0/24"));
  Outcome listed = slicer_run({"network", "list"});
  CHECK(listed.exit_code == 0);
  CHECK(listed.out ==
        "NAME    FILE                          PLUGINS                         VERSION\n"
        "first   /etc/cni/net.d/10-a.conflist  slicer-bridge, slicer-firewall  1.1.0\n"
        "second  /etc/cni/net.d/20-b.conflist  slicer-bridge, slicer-firewall  1.1.0\n");
  listed = slicer_run({"network", "list", "--json"});
  REQUIRE(listed.exit_code == 0);
  CHECK(Json::parse(listed.out)[1] == Json::parse(R"({"name": "second", "file": "/etc/cni/net.d/20-b.conflist",
    "plugins": ["slicer-bridge", "slicer-firewall"], "cniVersion": "1.1.0"})"));
  write_text("/etc/cni/net.d/15-broken.conflist", "{");
  write_list("30-c.conflist", network_list("first", "br-c", "192.0.2.0/24"));
  listed = slicer_run({"network", "list"});
  CHECK(listed.exit_code == 1);
  CHECK(contains(listed.err, "read network '/etc/cni/net.d/15-broken.conflist': "));
  CHECK(contains(listed.err, "'/etc/cni/net.d/30-c.conflist': never used, an earlier file has the network 'first'"));
}

TEST_CASE("network show: the list in words, the pool's use and who is attached") {
  const OneNetwork host;
  Outcome shown = slicer_run({"network", "show", "slicer"});
  REQUIRE_MESSAGE(shown.exit_code == 0, shown.err);
  CHECK(contains(shown.out, "slicer0 (not there yet: the first VM makes it)"));
  CHECK(contains(shown.out, "198.51.100.1-198.51.100.254: 0 of 253 in use"));
  CHECK(contains(shown.out, "no attachments"));
  attach_with_record({.name = "demo-1"}, true);
  attach({.name = "other", .tap = "vmtap1", .marked = false});
  shown = slicer_run({"network", "show", "slicer"});
  CHECK(contains(shown.out, "slicer0 (up, 2 ports)"));
  CHECK(contains(shown.out, "2 of 253 in use"));
  CHECK(contains(shown.out, "198.51.100.1, on the bridge"));
  shown = slicer_run({"network", "show", "slicer", "--json"});
  const Json json = Json::parse(shown.out);
  CHECK(json["bridge"] ==
        Json::parse(R"({"name": "slicer0", "exists": true, "ours": true, "ports": 2, "isGateway": true})"));
  CHECK(json["pool"]["inUse"] == 2);
  REQUIRE(json["attachments"].size() == 2);
  CHECK(json["attachments"][0]["containerID"] == "demo-1");
  CHECK(json["attachments"][0]["state"] == "running");
  CHECK(json["attachments"][1]["state"] == "another runtime's");
  CHECK(json["attachments"][1]["addresses"] == "198.51.100.3/24");
}

TEST_CASE("network show and rm: an unknown name gets the known ones") {
  const OneNetwork host;
  for (const char* command : {"show", "rm"}) {
    const Outcome answer = slicer_run({"network", command, "slicre"});
    CHECK(answer.exit_code == 1);
    CHECK(answer.err ==
          "slicer-run: find network 'slicre' in '/etc/cni/net.d': no such network\n"
          "slicer-run: hint: the networks there are: slicer\n");
  }
  CHECK(slicer_run({"network", "rm"}).exit_code == 2);
}

TEST_CASE("network rm: takes back bridge, rules and kept sysctls, and keeps the file") {
  const OneNetwork host;
  const std::string before = snapshot({.folders = {"/run"}});
  attach({.name = "demo-1"});
  REQUIRE(exists("/run/sysctl.d/90-slicer.conf"));
  detach({.name = "demo-1"});
  REQUIRE(link_exists("slicer0"));
  REQUIRE(contains(ruleset(), "slicer"));
  const Outcome removed = slicer_run({"network", "rm", "slicer"});
  CHECK_MESSAGE(removed.exit_code == 0, removed.err);
  CHECK(removed.out ==
        "removed bridge slicer0\n"
        "removed the rules of network 'slicer'\n"
        "removed '/run/sysctl.d/90-slicer.conf'; forwarding itself stays as it is\n"
        "kept '/etc/cni/net.d/51-slicer.conflist': the next VM makes the network anew (--purge removes it)\n");
  CHECK_FALSE(link_exists("slicer0"));
  CHECK_FALSE(contains(ruleset(), "slicer"));
  (void)run({"iptables-legacy", "-X", "CNI-ADMIN"});  // the administrator's, where the backend is iptables
  CHECK(difference(before, snapshot({.folders = {"/run"}})) == "");
  CHECK(exists("/etc/cni/net.d/51-slicer.conflist"));
  CHECK(slicer_run({"network", "rm", "slicer"}).exit_code == 0);  // twice
  attach({.name = "demo-1"});                                     // and it comes back
  detach({.name = "demo-1"});
  CHECK(slicer_run({"network", "rm", "--purge", "slicer"}).exit_code == 0);
  CHECK_FALSE(exists("/etc/cni/net.d/51-slicer.conflist"));
}

TEST_CASE("network rm: waits for an ADD on an isolated network that has begun, and leaves it the host's rules") {
  const OneNetwork host;
  const Netns box("box");
  const Json isolated = {{"cniVersion", "1.1.0"}, {"name", "sandbox"}, {"type", "slicer-isolated"}};
  Call how{.command = "ADD", .netns = box.path(), .ifname = "tap0"};
  REQUIRE(call_plugin("slicer-isolated", isolated, how).ok());
  how.command = "DEL";
  REQUIRE(call_plugin("slicer-isolated", isolated, how).ok());
  const std::string rules = run({"nft", "list", "chain", "inet", "slicer", "isolation-forward"}).out;
  REQUIRE(contains(rules, "isolation-forward"));
  const UniqueFd adding(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  REQUIRE(flock(adding.get(), LOCK_SH) == 0);
  const std::string done = "/run/removed";
  const Background removing([&] { write_text(done, slicer_run({"network", "rm", "slicer"}).out); });
  REQUIRE(eventually([] { return run({"grep", "-e", "-> FLOCK", "/proc/locks"}).ok(); }));
  CHECK(run({"nft", "list", "chain", "inet", "slicer", "isolation-forward"}).out == rules);
  how.command = "ADD";
  REQUIRE(call_plugin("slicer-isolated", isolated, how).ok());  // a second one does not wait for who waits
  REQUIRE(flock(adding.get(), LOCK_UN) == 0);
  REQUIRE(eventually([&] { return exists(done) && contains(read_text(done), "kept"); }));
  CHECK(run({"nft", "list", "chain", "inet", "slicer", "isolation-forward"}).out == rules);
  CHECK_FALSE(contains(read_text(done), "isolated"));
}

TEST_CASE("network rm: refuses while a VM or another runtime is attached, and says which") {
  const OneNetwork host;
  attach_with_record({.name = "demo-1"}, true);
  attach({.name = "other", .tap = "vmtap1", .marked = false});
  Outcome refused = slicer_run({"network", "rm", "slicer"});
  CHECK(refused.exit_code == 1);
  CHECK(contains(refused.err, "remove network 'slicer': still used by VM demo-1 (vmtap0)\n"));
  std::filesystem::remove_all("/run/slicer/demo-1");
  detach({.name = "demo-1"});
  refused = slicer_run({"network", "rm", "slicer"});
  CHECK(contains(refused.err, "still used by other (vmtap1)\n"));
  // A port that no cache knows.
  std::filesystem::remove_all("/var/lib/cni/results");
  refused = slicer_run({"network", "rm", "slicer"});
  CHECK(refused.exit_code == 1);
  CHECK(contains(refused.err, "still used by port vmtap1 of bridge slicer0"));
  CHECK(link_exists("vmtap1"));
  CHECK(contains(ruleset(), "slicer0"));
}

TEST_CASE("network rm: the gateway of a VLAN goes with its bridge") {
  const OneNetwork host;
  attach({.name = "demo-1"});
  detach({.name = "demo-1"});
  // As slicer-bridge makes it; not every kernel has the VLAN filtering that it needs for that.
  (void)must("ip link add slgtest master slicer0 type veth peer name slicer0.10");
  (void)must("ip link set slgtest alias slicer:slicer");
  const Outcome removed = slicer_run({"network", "rm", "slicer"});
  CHECK_MESSAGE(removed.exit_code == 0, removed.err);
  CHECK_FALSE(link_exists("slicer0"));
  CHECK_FALSE(link_exists("slicer0.10"));
}

TEST_CASE("network rm: cleans up after a dead VM of the network first") {
  const OneNetwork host;
  attach_with_record({.name = "demo-1"}, false);
  const Outcome removed = slicer_run({"network", "rm", "slicer"});
  CHECK_MESSAGE(removed.exit_code == 0, removed.err);
  CHECK(contains(removed.out, "removed dead VM demo-1\nremoved bridge slicer0\n"));
  CHECK_FALSE(link_exists("vmtap0"));
  CHECK_FALSE(exists("/run/slicer/demo-1"));
  CHECK_FALSE(exists("/var/lib/cni/networks/slicer/198.51.100.2"));
}

TEST_CASE("network rm: leaves other networks and strangers' bridges alone") {
  const OneNetwork host;
  write_list("52-more.conflist", network_list("more", "slicer1", "203.0.113.0/24"));
  attach({.name = "demo-1"});
  attach({.name = "demo-2", .network = "more", .tap = "vmtap1"});
  detach({.name = "demo-1"});
  CHECK(slicer_run({"network", "rm", "slicer"}).exit_code == 0);
  CHECK_FALSE(link_exists("slicer0"));
  CHECK(link_exists("slicer1"));
  CHECK(contains(ruleset(), "slicer1"));
  CHECK_FALSE(contains(ruleset(), "slicer0"));
  CHECK(exists("/run/sysctl.d/90-slicer.conf"));
  (void)must("ip link add slicer0 type bridge");  // of our name, not of our making
  CHECK(slicer_run({"network", "rm", "slicer"}).exit_code == 0);
  CHECK(link_exists("slicer0"));
}

TEST_CASE("network rm: works by the bridge's alias when the file is gone") {
  const OneNetwork host;
  attach({.name = "demo-1"});
  detach({.name = "demo-1"});
  std::filesystem::remove("/etc/cni/net.d/51-slicer.conflist");
  const Outcome removed = slicer_run({"network", "rm", "slicer"});
  CHECK_MESSAGE(removed.exit_code == 0, removed.err);
  CHECK_FALSE(link_exists("slicer0"));
  CHECK_FALSE(contains(ruleset(), "slicer"));
}

TEST_CASE("gc: removes what a VM with a dead supervisor left, and nothing of a living one") {
  const OneNetwork host;
  attach_with_record({.name = "alive", .tap = "vmtap0"}, true);
  const FileLock lock = FileLock::try_acquire("/run/slicer/alive/lock").value();
  const std::string before = snapshot();
  attach_with_record({.name = "dead", .tap = "vmtap1"}, false);
  REQUIRE(link_exists("vmtap1"));
  Outcome collected = slicer_run({"gc"});
  CHECK_MESSAGE(collected.exit_code == 0, collected.err);
  CHECK(collected.out == "removed dead VM dead\n");
  CHECK_FALSE(link_exists("vmtap1"));
  CHECK(link_exists("vmtap0"));
  CHECK_FALSE(exists("/var/lib/cni/results/slicer-dead-vmtap1"));
  CHECK(exists("/var/lib/cni/results/slicer-alive-vmtap0"));
  CHECK_FALSE(exists("/run/slicer/dead"));
  collected = slicer_run({"gc"});
  CHECK(collected.out == "nothing to remove\n");
}

TEST_CASE("gc: what only a name tells of: namespaces and files of VMs that are not there, and no stranger's") {
  const OneNetwork host;
  (void)must("ip netns add slicer-lost-1");
  (void)must("ip -n slicer-lost-1 link add slp1 group 77 type veth peer name slp2 group 77");
  (void)must("ip netns add slicer-theirs");
  (void)must("ip -n slicer-theirs link add their0 type veth peer name their1");
  (void)must("ip -n slicer-theirs link set their0 up");
  (void)must("ip netns add another");
  write_text("/var/lib/slicer/vms/lost-2/known_hosts", "x");
  write_text("/var/lib/slicer/vms/broken/vm.json", "{");
  const Outcome collected = slicer_run({"gc"});
  CHECK_MESSAGE(collected.exit_code == 0, collected.err);
  CHECK(collected.out ==
        "removed the network namespace of VM lost-1, of which nothing else is left\n"
        "removed the files of VM lost-2, of which nothing else is left\n");
  CHECK_FALSE(exists("/run/netns/slicer-lost-1"));
  CHECK_FALSE(exists("/var/lib/slicer/vms/lost-2"));
  for (const char* kept : {"/run/netns/slicer-theirs", "/run/netns/another", "/var/lib/slicer/vms/broken/vm.json"})
    CHECK_MESSAGE(exists(kept), kept);
  CHECK_FALSE(exists("/run/slicer/lost-1"));
  CHECK(slicer_run({"gc"}).out == "nothing to remove\n");
}

TEST_CASE("gc: after a reboot removes our entries of the cache with their addresses, and no other runtime's") {
  OneNetwork host;
  attach_with_record({.name = "demo-1", .tap = "vmtap0"}, true);
  attach({.name = "pod", .tap = "vmtap1", .marked = false});
  host.reboot();
  REQUIRE(exists("/var/lib/cni/results/slicer-demo-1-vmtap0"));
  REQUIRE(exists("/var/lib/cni/networks/slicer/198.51.100.2"));
  const Outcome collected = slicer_run({"gc"});
  CHECK_MESSAGE(collected.exit_code == 0, collected.err);
  CHECK(collected.out == "removed what VM demo-1 left on network slicer (vmtap0)\n");
  CHECK_FALSE(exists("/var/lib/cni/results/slicer-demo-1-vmtap0"));
  CHECK_FALSE(exists("/var/lib/cni/networks/slicer/198.51.100.2"));
  CHECK_FALSE(exists("/run/slicer/demo-1"));
  CHECK(exists("/var/lib/cni/results/slicer-pod-vmtap1"));
}

TEST_CASE("gc: an orphan is removed in the terms of its ADD, whatever became of the file") {
  OneNetwork host;
  attach({.name = "demo-1", .tap = "vmtap0"});
  std::filesystem::remove_all("/etc/cni/net.d");
  const Outcome collected = slicer_run({"gc"});
  CHECK_MESSAGE(collected.exit_code == 0, collected.err);
  CHECK_FALSE(link_exists("vmtap0"));
  CHECK_FALSE(exists("/var/lib/cni/networks/slicer/198.51.100.2"));
}

TEST_CASE("gc: a DEL that fails is told, the rest goes on, and the next gc tries again") {
  OneNetwork host;
  attach_with_record({.name = "demo-1", .tap = "vmtap0"}, false);
  attach_with_record({.name = "demo-2", .tap = "vmtap1"}, false);
  Json list = network_list("slicer", "slicer0", "198.51.100.0/24");
  list["plugins"].push_back({{"type", "absent"}});
  Json record = Json::parse(read_text("/run/slicer/demo-1/state.json"));
  record["conflist"] = list.dump();
  write_text("/run/slicer/demo-1/state.json", record.dump());
  Outcome collected = slicer_run({"gc"});
  CHECK(collected.exit_code == 1);
  CHECK(contains(collected.err, "clean up after VM 'demo-1': DEL on network 'slicer': find plugin 'absent'"));
  CHECK(collected.out == "removed dead VM demo-2\n");
  CHECK(link_exists("vmtap0"));
  record["conflist"] = network_list("slicer", "slicer0", "198.51.100.0/24").dump();
  write_text("/run/slicer/demo-1/state.json", record.dump());
  collected = slicer_run({"gc"});
  CHECK(collected.out == "removed dead VM demo-1\n");
  CHECK_FALSE(link_exists("vmtap0"));
}
