// The table in a VM's namespace with lists in it, and the openings on the host: what slicer-firewall does with
// lib/netfilter.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "lib/base/unique_fd.h"
#include "lib/netfilter/isolation.h"
#include "lib/netfilter/vm_policy.h"
#include "tests/system/isolated/isolated_support.h"

using namespace slicer;
using namespace slicer::netfilter;
using namespace slicer::test;
using namespace slicer::test::isolated;

namespace {

template <class T>
T must_have(Result<T> result) {
  if (!result) give_up(result.error().message);
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

std::vector<PolicyEntry> entries(const std::vector<std::string>& texts) {
  std::vector<PolicyEntry> list;
  for (const std::string& text : texts) list.push_back(must_have(parse_policy_entry(text)));
  return list;
}

IsolationOwner owner_of(const Vm& vm) {
  return {.network = "sandbox", .alias = "slicer:sandbox/" + vm.how.container_id + "/tap0"};
}

VmTableRules rules_of(const Vm& vm, const Policy& policy) {
  const std::vector<addr::Ip> host{must_have(addr::parse_ip(Surroundings::kHost))};
  const std::string end = vm.result["interfaces"][0]["name"];
  return {.owner = owner_of(vm),
          .tap = "tap0",
          .uplink = "slu" + end.substr(3),
          .guest = must_have(addr::parse_ip(vm.ip())),
          .gateway = must_have(addr::parse_ip(vm.gateway())),
          .policy = compile_policy(policy, closed_to_isolated(host))};
}

void replace(const Vm& vm, const VmTableRules& rules) {
  in_netns(vm.box.path(), [&] {
    VmTable table = must_have(VmTable::open());
    must_have(table.put(rules));
    must_have(table.check(rules, VmTableCheck::kAll));
  });
}

/// Whether a TCP connection from the VM gets through to a server at `ip`.
bool connects(const Vm& vm, const std::string& server_netns, const std::string& ip, int port) {
  const Background server({"nc", "-l", "-k", "-p", std::to_string(port)}, server_netns);
  (void)eventually(
      [&] { return run(words("ss -Hltn sport = :" + std::to_string(port)), {.netns = server_netns}).out.size() > 0; });
  return run({"nc", "-z", "-w", "1", ip, std::to_string(port)}, {.netns = vm.guest.netns()}).ok();
}

}  // namespace

TEST_CASE("isolated table: the plugin's own is known by its mark, and another replaces it whole") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const Vm vm(sandbox_conf());
  in_netns(vm.box.path(), [&] { CHECK(must_have(must_have(VmTable::open()).mark()) == "slicer:sandbox/vm-1/tap0"); });
  const VmTableRules closed = rules_of(vm, {.drop = entries({"0.0.0.0/0"})});
  replace(vm, closed);
  CHECK_FALSE(vm.pings(Surroundings::kInternet, 1));
  CHECK(vm.pings(vm.gateway()));
  in_netns(vm.box.path(), [&] {
    CHECK_FALSE(must_have(VmTable::open()).check(rules_of(vm, {}), VmTableCheck::kAll).has_value());
    CHECK(must_have(VmTable::open()).check(rules_of(vm, {}), VmTableCheck::kConstants).has_value());
  });
  replace(vm, rules_of(vm, {}));
  CHECK(vm.pings(Surroundings::kInternet));
  const Answer checked = call(with(sandbox_conf(), "prevResult", vm.result), call_in("CHECK", vm.box));
  INFO(checked.text());
  CHECK(checked.ok());
}

TEST_CASE("isolated table: drop, allow, both, and ports") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const Vm vm(sandbox_conf());
  replace(vm, rules_of(vm, {.drop = entries({"198.51.100.0/24"})}));
  CHECK_FALSE(vm.pings(Surroundings::kLanMachine, 1));
  CHECK(vm.pings(Surroundings::kInternet));
  replace(vm, rules_of(vm, {.allow = entries({"198.51.100.0/24"})}));
  CHECK(vm.pings(Surroundings::kLanMachine));
  CHECK_FALSE(vm.pings(Surroundings::kInternet, 1));
  replace(vm, rules_of(vm, {.drop = entries({"198.51.100.0/24"}), .allow = entries({"0.0.0.0/0"})}));
  CHECK_FALSE(vm.pings(Surroundings::kLanMachine, 1));
  CHECK(vm.pings(Surroundings::kInternet));
  if (run({"nc", "-h"}).exit_code == 127) SLICER_SKIP("needs the program nc");
  replace(vm,
          rules_of(vm, {.drop = entries({"0.0.0.0/0", "203.0.113.9:81"}), .allow = entries({"203.0.113.9:80-90"})}));
  CHECK(connects(vm, around.internet.path(), Surroundings::kInternet, 80));
  CHECK_FALSE(connects(vm, around.internet.path(), Surroundings::kInternet, 81));
  CHECK_FALSE(connects(vm, around.internet.path(), Surroundings::kInternet, 443));
  CHECK_FALSE(vm.pings(Surroundings::kInternet, 1));
}

TEST_CASE("isolated table: another list also closes what is open") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const Vm vm(sandbox_conf());
  const std::string one_flow = "ping -c 1 -W 1 -e 77 " + std::string(Surroundings::kInternet);
  REQUIRE(run(words(one_flow), {.netns = vm.guest.netns()}).ok());
  replace(vm, rules_of(vm, {.drop = entries({"203.0.113.0/24"})}));
  CHECK_FALSE(run(words(one_flow), {.netns = vm.guest.netns()}).ok());
}

TEST_CASE("isolated table: an address of the host opens when a list names it, and both layers say so") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const Vm vm(sandbox_conf());
  const Vm other(sandbox_conf(), "vm-2");
  const std::string before = snapshot();
  const std::vector<addr::Ip> opened{must_have(addr::parse_ip(Surroundings::kHost))};
  replace(vm, rules_of(vm, {.allow = entries({Surroundings::kHost, "0.0.0.0/0"})}));
  CHECK_FALSE(vm.pings(Surroundings::kHost, 1));
  must_have(open_host_addresses(owner_of(vm), must_have(addr::parse_ip(vm.ip())), opened));
  must_have(open_host_addresses(owner_of(vm), must_have(addr::parse_ip(vm.ip())), opened));
  CHECK(must_have(opened_host_addresses(owner_of(vm))) == opened);
  CHECK(vm.pings(Surroundings::kHost));
  CHECK(vm.pings(Surroundings::kInternet));
  CHECK_FALSE(other.pings(Surroundings::kHost, 1));
  CHECK_FALSE(pings(Host::netns(), vm.ip(), 1));
  SUBCASE("taken back") { must_have(close_host_addresses(owner_of(vm))); }
  SUBCASE("another list") { must_have(open_host_addresses(owner_of(vm), must_have(addr::parse_ip(vm.ip())), {})); }
  SUBCASE("GC of the network") { must_have(close_stale_host_addresses("sandbox", {})); }
  CHECK_FALSE(vm.pings(Surroundings::kHost, 1));
  CHECK(difference(before, snapshot()) == "");
}

TEST_CASE("isolated table: DEL closes what was opened") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const Netns box("box");
  const std::string before = settled_snapshot(sandbox_conf(), call_in("ADD", box));
  const Json result = add(sandbox_conf(), call_in("ADD", box));
  must_have(open_host_addresses({.network = "sandbox", .alias = "slicer:sandbox/vm-1/tap0"},
                                must_have(addr::parse_ip(ip_of(result, 4))),
                                std::vector<addr::Ip>{must_have(addr::parse_ip(Surroundings::kHost))}));
  del(sandbox_conf(), call_in("DEL", box));
  CHECK(difference(before, snapshot()) == "");
}

TEST_CASE("isolated table: ten thousand entries, with and without ports") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const Vm vm(sandbox_conf());
  Policy policy;
  for (unsigned i = 0; i < 5000; ++i) {
    const addr::Ip ip(addr::Family::kIpv4, 0x0a000000U + i * 8);
    policy.drop.push_back({.addresses = {.first = ip, .last = ip.plus(3)}});
    policy.drop.push_back({.addresses = {.first = ip.plus(4), .last = ip.plus(5)},
                           .ports = PortRange{.first = 80, .last = static_cast<uint16_t>(90 + i)}});
  }
  policy.drop.push_back(must_have(parse_policy_entry("203.0.113.9")));
  const VmTableRules rules = rules_of(vm, policy);
  const auto begin = std::chrono::steady_clock::now();
  replace(vm, rules);
  MESSAGE("10,000 entries: ",
          std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin).count(),
          " ms");
  CHECK_FALSE(vm.pings(Surroundings::kInternet, 1));
  CHECK(vm.pings(Surroundings::kLanMachine));
}

TEST_CASE("isolated table: whatever somebody takes from the host's rules, the next ADD puts back") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const Vm vm(sandbox_conf());
  std::vector<const char*> damages{"nft flush chain inet slicer isolation-prerouting",
                                   "nft flush chain inet slicer isolation-input",
                                   "nft delete chain inet slicer isolation-output",
                                   "nft add rule inet slicer isolation-forward accept", "nft delete table inet slicer"};
  if (is_legacy())
    damages = {"iptables-legacy -t mangle -F slicer-iso-pre", "iptables-legacy -t mangle -F INPUT",
               "iptables-legacy -t mangle -D FORWARD 1", "iptables-legacy -t mangle -I slicer-iso-fwd -j ACCEPT",
               "ip6tables-legacy -t mangle -F PREROUTING"};
  for (const char* damage : damages) {
    CAPTURE(damage);
    (void)must(damage);
    CHECK_FALSE(check_isolation().has_value());
    const Netns box("box");
    const Call how = call_in("ADD", box, "vm-9");
    (void)add(sandbox_conf(), how);
    CHECK(check_isolation().has_value());
    CHECK_FALSE(vm.pings(Surroundings::kHost, 1));
    del(sandbox_conf(), how);
  }
}

TEST_CASE("isolated table: an ADD waits while the host's rules are removed, and puts them back") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Netns box("box");
  (void)settled_snapshot(sandbox_conf(), call_in("ADD", box));
  const UniqueFd removal(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  REQUIRE(flock(removal.get(), LOCK_EX) == 0);
  const Background adding([&] { (void)call(sandbox_conf(), call_in("ADD", box)); });
  CHECK(eventually([] { return run({"grep", "-e", "-> FLOCK", "/proc/locks"}).ok(); }));
  CHECK(must("ip -o link show type veth") == "");
  CHECK(must_have(remove_isolation()));
  REQUIRE(flock(removal.get(), LOCK_UN) == 0);  // the child has the description, too
  CHECK(eventually([&] { return run(words("ip -o -4 route show default"), {.netns = box.path()}).out != ""; }));
  CHECK(check_isolation().has_value());
}

TEST_CASE("isolated table: a DEL waits for nobody while the host's rules are removed") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const Netns box("box");
  const Call how = call_in("ADD", box);
  const std::string before = settled_snapshot(sandbox_conf(), how);
  const Json result = add(sandbox_conf(), how);
  must_have(open_host_addresses({.network = "sandbox", .alias = "slicer:sandbox/vm-1/tap0"},
                                must_have(addr::parse_ip(ip_of(result, 4))),
                                std::vector<addr::Ip>{must_have(addr::parse_ip(Surroundings::kHost))}));
  const UniqueFd removal(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  REQUIRE(flock(removal.get(), LOCK_EX) == 0);
  SUBCASE("before they go") {
    del(sandbox_conf(), how);
    CHECK(difference(before, snapshot()) == "");
  }
  SUBCASE("after they have gone") {
    CHECK(must_have(remove_isolation()));
    del(sandbox_conf(), how);
    CHECK_FALSE(check_isolation().has_value());
  }
}

TEST_CASE("isolated table: the lists in force are read back with their counters, wherever they stand") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const Vm vm(sandbox_conf());
  const VmTableRules rules = rules_of(vm, {.drop = entries({"203.0.113.0/24", "192.0.2.0/24:80"})});
  replace(vm, rules);
  CHECK_FALSE(pings(vm.guest.netns(), Surroundings::kInternet, 1));
  CHECK(vm.pings(Surroundings::kLanMachine));
  in_netns(vm.box.path(), [&] {
    const std::optional<PolicyInForce> found = must_have(read_vm_policy());
    REQUIRE(found.has_value());
    CHECK(found->dropped >= 1);
    CHECK(found->passed >= 1);
    CHECK(found->policy.fallback == PolicyVerdict::kAllow);
    const auto is_v4 = [](const auto& one) { return one.addresses.first.is_v4(); };
    CHECK(std::ranges::count_if(found->policy.addresses, is_v4) ==
          std::ranges::count_if(rules.policy.addresses, is_v4));
    REQUIRE(found->policy.ports.size() == 1);
    CHECK(found->policy.ports.front().ports == PortRange{.first = 80, .last = 80});
  });
}

TEST_CASE("isolated table: network rm's step takes the host's rules of either backend, and leaves nothing") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Netns box("box");
  const Json conf = with(sandbox_conf(), "ipMasq", false);
  const std::string before = snapshot();
  (void)add(conf, call_in("ADD", box));
  del(conf, call_in("DEL", box));
  CHECK(check_isolation().has_value());
  CHECK(must_have(remove_isolation()));
  CHECK_FALSE(must_have(remove_isolation()));
  CHECK_FALSE(check_isolation().has_value());
  if (!is_legacy()) (void)must("nft delete table inet slicer");  // the set of bridges, which stays
  const std::string left = difference(before, snapshot());
  CHECK(left.find("slicer-") == std::string::npos);
  CHECK(left.find("isolation") == std::string::npos);
}
