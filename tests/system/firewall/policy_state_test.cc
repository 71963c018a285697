// What stands for drop and allow lists: made once, shared, replaced whole, gone with the last user.
#include <doctest/doctest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tests/system/firewall/policy_support.h"
#include "tests/system/fixture/kill_at_syscall.h"
#include "tests/system/fixture/snapshot.h"

using namespace slicer::test;
using namespace slicer::test::firewall;

namespace {

constexpr const char* kPlugin = "slicer-firewall";

Call call_of(int number, const std::string& command = "ADD") {
  return {.command = command,
          .container_id = "vm-" + std::to_string(number),
          .netns = Host::netns(),
          .ifname = "vmtap" + std::to_string(number)};
}

Json own_policy(Json firewall, const Json& policy) {
  firewall["capabilities"] = {{"policy", true}};
  firewall["runtimeConfig"]["policy"] = policy;
  return firewall;
}

void must_work(const Answer& answer) {
  INFO(answer.text());
  REQUIRE(answer.ok());
}

/// slicer-bridge's part alone.
Json add_bridge(const Chain& chain, int number) {
  const Answer answer = call_plugin("slicer-bridge", chain.bridge, call_of(number));
  must_work(answer);
  return answer.json;
}

Answer filter(const Json& conf, const Json& result, int number, const std::string& command = "ADD") {
  Json whole = conf;
  if (!result.is_null()) whole["prevResult"] = result;
  return call_plugin(kPlugin, whole, call_of(number, command));
}

size_t count(const std::string& text, const std::string& word) {
  size_t found = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++found;
  return found;
}

/// Policies that stand, by their -drop chains.
size_t policies() {
  if (!is_legacy()) return count(ruleset(), "-drop {");
  return count(must("iptables-legacy -t mangle -S"), "--comment \"drop and allow lists of slicer-firewall\" -j DROP");
}

/// One address per family: every VM gets the same.
Chain narrow_chain() {
  Chain chain;
  Json& ranges = chain.bridge["ipam"]["ranges"];
  for (const size_t i : {0U, 1U}) {
    const std::string address = i == 0 ? "192.0.2.9" : "2001:db8:2::9";
    ranges[i][0]["rangeStart"] = address;
    ranges[i][0]["rangeEnd"] = address;
  }
  return chain;
}

/// A network, its constants made, with nothing of a VM on it.
std::string settled(const Chain& chain) {
  const Json result = add_chain(chain, call_of(99));
  del_chain(chain, result, call_of(99));
  return snapshot();
}

/// A way to break what stands, and what CHECK says.
struct Damage {
  std::string command;
  std::string named;
  std::string mend = {};  ///< where an ADD does not look
};

/// The name that begins with `start` and has `length` characters in all.
std::string name_in(const std::string& listing, const std::string& start, size_t length) {
  return listing.substr(listing.find(start), length);
}

std::vector<Damage> damages(const std::string& listing) {
  std::vector<Damage> all{
      {"bridge link set dev vmtap1 isolated off", "the VM's port is not isolated"},
      {"sysctl -qw net.ipv4.conf.slicer0.proxy_arp_pvlan=0", "proxy_arp_pvlan"},
      {"ip -6 neigh del proxy 2001:db8:2::2 dev slicer0", "no proxy neighbour entry"},
  };
  if (is_legacy()) {
    const std::string mangle = "iptables-legacy -t mangle ";
    const std::string id = name_in(listing, "slicer-pol-", 23);
    const std::string egress = name_in(listing, "slicer-egr-", 23);
    const std::string rule = id + "-a -d 192.0.2.0/24 -g " + id + "-drop";
    all.push_back({mangle + "-F " + egress, "is gone from chain '" + egress + "'"});
    all.push_back({mangle + "-D PREROUTING 1", "is gone from chain 'PREROUTING' in table 'mangle' of iptables"});
    all.push_back({mangle + "-D " + rule, "holds other addresses", mangle + "-I " + rule});
  } else {
    const std::string id = name_in(listing, "policy-", 19);
    const std::string map = "inet slicer " + id + "-v4 ";
    all.push_back({"nft flush chain inet slicer egress-demo", "chain 'egress-demo' is gone"});
    all.push_back({"nft delete element " + map + "{ 192.0.2.0/24 }", "hold other addresses",
                   "nft add element " + map + "{ 192.0.2.0/24 : goto " + id + "-drop }"});
  }
  return all;
}

}  // namespace

TEST_CASE("policy: lists that have not changed are not written again, changed ones replace the old whole") {
  const Host host;
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  Chain chain;
  chain.firewall["drop"] = {"198.51.100.0/24", "[2001:db8::/32]:80"};
  const Json one = add_chain(chain, call_of(1));
  const std::string first = standing_rules();
  const std::string handles = fingerprint();
  (void)add_chain(chain, call_of(2));
  CHECK(fingerprint() == handles);
  CHECK(policies() == 1);
  chain.firewall["drop"] = {"[2001:db8::/32]:80", "198.51.100.0/24", "198.51.100.7"};  // the same, said otherwise
  must_work(filter(chain.firewall, one, 1));
  CHECK(fingerprint() == handles);
  chain.firewall["drop"] = {"203.0.113.0/24"};
  must_work(filter(chain.firewall, one, 1));
  CHECK(policies() == 1);
  CHECK(standing_rules().find("198.51.100.0") == std::string::npos);
  chain.firewall["drop"] = Json::array();  // the same as none
  must_work(filter(chain.firewall, one, 1));
  CHECK(policies() == 0);
  CHECK(standing_rules().find(is_legacy() ? "slicer-egr-" : "egress-demo") == std::string::npos);
  chain.firewall["drop"] = {"198.51.100.0/24", "[2001:db8::/32]:80"};
  must_work(filter(chain.firewall, one, 1));
  CHECK(policies() == 1);
  must_drive("remove demo");
  CHECK(ruleset() == "");
  if (is_legacy()) CHECK(legacy_rules() == without_ours(legacy_rules()));
  CHECK(first.find(is_legacy() ? "slicer-egr-" : "egress-demo") != std::string::npos);
}

TEST_CASE("policy: log writes NFLOG rules, limited") {
  const Host host;
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  Chain chain;
  chain.firewall["drop"] = {"198.51.100.0/24"};
  chain.firewall["log"] = true;
  (void)add_chain(chain, call_of(1));
  const char* rule = is_legacy() ? R"(--limit 10/sec --limit-burst 20 -j NFLOG --nflog-prefix "slicer:demo ")"
                                 : R"(limit rate 10/second burst 20 packets log prefix "slicer:demo " group 83)";
  CHECK(standing_rules().find(rule) != std::string::npos);
}

TEST_CASE("policy: a VM's own is one element, equal ones are one, the last user takes it along") {
  const Host host;
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  Chain chain;
  chain.firewall["drop"] = {"198.51.100.0/24"};
  std::vector<Json> results;
  for (const int number : {1, 2, 3}) results.push_back(add_bridge(chain, number));
  must_work(filter(chain.firewall, results[0], 1));
  CHECK(policies() == 1);
  const Json own = own_policy(chain.firewall, {{"drop", Json::array()}, {"allow", {"203.0.113.9:443"}}});
  must_work(filter(own, results[1], 2));
  CHECK(policies() == 2);
  const std::string with_one = standing_rules();
  CHECK(with_one.find("comment \"slicer:demo/vm-2/vmtap2\"") != std::string::npos);
  must_work(filter(own, results[2], 3));
  CHECK(policies() == 2);
  CHECK(count(standing_rules(), "/vmtap3") == 3);  // one element for each address, and the link-local one
  must_work(filter(own, results[1], 2, "CHECK"));
  must_work(filter(own, results[2], 3, "DEL"));
  CHECK(standing_rules() == with_one);
  must_work(filter(own, nullptr, 2, "DEL"));
  const std::string network_only = standing_rules();
  CHECK(policies() == 1);
  CHECK(count(network_only, "comment \"slicer:demo/") == 0);
  must_work(filter(own, nullptr, 2, "DEL"));
  // An own policy that says what the network says is none.
  must_work(filter(own_policy(chain.firewall, {{"drop", {"198.51.100.0/24"}}}), results[1], 2));
  CHECK(standing_rules() == network_only);
}

TEST_CASE("policy: a reload that fails leaves a running VM its older policy, and its proxy entry") {
  const Host host;
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  Chain chain;
  const Json older = own_policy(chain.firewall, {{"drop", {"192.0.2.0/24"}}});
  const Json newer = own_policy(chain.firewall, {{"drop", {"192.0.2.0/24", "198.51.100.0/24"}}});
  const Json result = add_bridge(chain, 1);
  must_work(filter(older, result, 1));
  const std::string before = fingerprint();
  const std::string proxies = must("ip -6 neigh show proxy");
  CHECK(proxies.find("2001:db8:2::2") != std::string::npos);
  (void)must("sysctl -qw net.ipv4.conf.slicer0.proxy_arp_pvlan=0");  // so that there is something to set
  (void)must("mount --bind /proc/sys /proc/sys");
  (void)must("mount -o remount,ro,bind /proc/sys");
  const Answer failed = filter(newer, result, 1);
  (void)must("umount /proc/sys");
  INFO(failed.text());
  CHECK(failed.code() == 100);
  CHECK(fingerprint() == before);
  CHECK(must("ip -6 neigh show proxy") == proxies);
  must_work(filter(newer, result, 1));
  must_work(filter(newer, result, 1, "CHECK"));
}

TEST_CASE("policy: GC removes the policies of VMs that are gone, and keeps those of others") {
  const Host host;
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  Chain chain;
  const Json own = own_policy(chain.firewall, {{"drop", {"198.51.100.0/24"}}});
  for (const int number : {1, 2}) must_work(filter(own, add_bridge(chain, number), number));
  const auto gc = [&](const Json& valid) {
    Json conf = chain.firewall;
    if (!valid.is_null()) conf["cni.dev/valid-attachments"] = valid;
    return call_plugin(kPlugin, conf, {.command = "GC"});
  };
  const std::string both = standing_rules();
  must_work(gc(nullptr));
  CHECK(standing_rules() == both);
  must_work(gc(Json::parse(R"([{"containerID": "vm-1", "ifname": "vmtap1"}])")));
  CHECK(count(standing_rules(), "/vmtap1\"") == 3);
  CHECK(count(standing_rules(), "/vmtap2\"") == 0);
  must_work(gc(Json::array()));
  CHECK(policies() == 0);
}

TEST_CASE("policy: an address that comes to another VM brings no older VM's policy along") {
  const Host host;
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  Chain chain;
  const Json result = add_bridge(chain, 1);
  must_work(filter(own_policy(chain.firewall, {{"drop", {"198.51.100.0/24"}}}), result, 1));
  CHECK(policies() == 2);                        // and the network's, which closes nothing
  must_work(filter(chain.firewall, result, 2));  // the DEL of vm-1 never came
  CHECK(policies() == 0);
}

TEST_CASE("policy: CHECK names what is gone or changed") {
  const Host host;
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  Chain chain;
  chain.firewall["drop"] = {"192.0.2.0/24", "198.51.100.0/24:80"};
  const Json result = add_chain(chain, call_of(1));
  must_work(filter(chain.firewall, result, 1, "CHECK"));
  const std::string listing = standing_rules();
  for (const Damage& damage : damages(listing)) {
    INFO(damage.command);
    (void)must(damage.command);
    const Answer checked = filter(chain.firewall, result, 1, "CHECK");
    INFO(checked.text());
    CHECK(checked.code() == 105);
    CHECK(checked.msg().find(damage.named) != std::string::npos);
    if (!damage.mend.empty()) (void)must(damage.mend);
    must_work(filter(chain.firewall, result, 1));
    must_work(filter(chain.firewall, result, 1, "CHECK"));
  }
  CHECK(standing_rules() == listing);
}

TEST_CASE("policy: thousands of entries load, and an ADD that finds them in force writes nothing") {
  const Host host;
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  Chain chain;
  Json drop = Json::array();
  for (int i = 0; i < 10000; ++i) {
    const std::string address = "10." + std::to_string(i / 250) + "." + std::to_string(i % 250);
    drop.push_back(i % 10 == 0 ? address + ".1:80-90" : address + ".0/25");
  }
  chain.firewall["drop"] = drop;
  const Json result = add_chain(chain, call_of(1));
  const Outcome listed = drive("list demo");
  CHECK(count(listed.out, "  drop ") == 10000);
  const std::string handles = fingerprint();
  must_work(filter(chain.firewall, result, 1));
  CHECK(fingerprint() == handles);
  must_work(filter(chain.firewall, result, 1, "CHECK"));
}

TEST_CASE("policy: 16 ADDs at once, with the network's lists and their own, stand as one by one") {
  const Host host;
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  Chain chain;
  chain.firewall["drop"] = {"192.0.2.0/25", "198.51.100.0/24"};
  for (int number = 1; number <= 16; ++number) {
    Json conf = chain.firewall;
    conf["prevResult"] = add_bridge(chain, number);
    if (number % 2 == 0) conf = own_policy(conf, {{"drop", {"203.0.113." + std::to_string(number / 8)}}});
    std::ofstream("/run/conf." + std::to_string(number)) << conf;
  }
  const auto all = [&](const std::string& command) {
    const std::string loop = "for i in $(seq 16); do CNI_COMMAND=" + command +
                             " CNI_CONTAINERID=vm-$i CNI_IFNAME=vmtap$i " + bin_dir() + "/" + kPlugin +
                             " </run/conf.$i >/run/out.$i || cat /run/out.$i & done; wait";
    return run({"sh", "-c", loop}, {.env = cni_environment(call_of(1))}).out;
  };
  CHECK(all("ADD") == "");
  CHECK(policies() == 4);  // the network's, and own ones that differ in 203.0.113.0, .1 and .2
  CHECK(count(standing_rules(), "comment \"slicer:demo/vm-") == 24);
  CHECK(all("CHECK") == "");
  const std::string ports = must("bridge -d link show");
  CHECK(count(ports, "isolated on") == 16);
  CHECK(all("DEL") == "");
  CHECK(policies() == 1);
  CHECK(count(standing_rules(), "comment \"slicer:demo/vm-") == 0);
}

TEST_CASE("policy: ADD killed at any system call, then DEL: nothing of the VM is left") {
  const Host host;
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  (void)must("nft add table inet other");
  (void)must("nft add chain inet other forward { type filter hook forward priority 0 ; }");
  Chain chain = narrow_chain();
  chain.firewall["drop"] = {"192.0.2.0/24"};
  chain.firewall = own_policy(chain.firewall, {{"allow", {"203.0.113.9", "[2001:db8::9]:443"}}});
  const std::string before = settled(chain);
  const long rounds = kill_at_every_syscall(
      {.plugin = kPlugin,
       .conf =
           [&] {
             Json whole = chain.firewall;
             whole["prevResult"] = add_bridge(chain, 1);
             del_chain(chain, whole["prevResult"], call_of(1));
             return whole;
           }(),
       .call = call_of(1),
       .step = is_legacy() ? 5 : 2},
      [&] { (void)add_bridge(chain, 1); },
      [&](const KillOutcome& outcome) {
        INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
        del_chain(chain, nullptr, call_of(1));
        CHECK(difference(before, snapshot()) == "");
      });
  CHECK(rounds > 10);
}

TEST_CASE("policy: DEL killed at any system call, then DEL again: nothing of the VM is left") {
  const Host host;
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  Chain chain = narrow_chain();
  chain.firewall["drop"] = {"192.0.2.0/24"};
  chain.firewall = own_policy(chain.firewall, {{"allow", {"203.0.113.9", "[2001:db8::9]:443"}}});
  const std::string before = settled(chain);
  Json whole = chain.firewall;
  whole["prevResult"] = add_chain(chain, call_of(1));
  del_chain(chain, whole["prevResult"], call_of(1));
  const long rounds = kill_at_every_syscall(
      {.plugin = kPlugin, .conf = whole, .call = call_of(1, "DEL"), .step = is_legacy() ? 5 : 2},
      [&] { (void)add_chain(chain, call_of(1)); },
      [&](const KillOutcome& outcome) {
        INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
        del_chain(chain, nullptr, call_of(1));
        CHECK(difference(before, snapshot()) == "");
      });
  CHECK(rounds > 10);
}

TEST_CASE("segregation: the first ADD that needs it, killed at any system call, DEL and ADD complete it") {
  const Host host;
  if (is_legacy()) SLICER_SKIP("the rounds take nftables' table away to begin anew");
  Chain plain;
  const auto bridge_of = [&](int number) {
    Chain chain = plain;
    const std::string last = std::to_string(10 + number);
    chain.bridge["runtimeConfig"]["ips"] = {"192.0.2." + last + "/24", "2001:db8:2::" + last + "/64"};
    return chain;
  };
  const auto start_anew = [&] {
    for (const char* line :
         {"ip link del vmtap1", "ip link del vmtap2", "ip link del slicer0", "nft delete table inet slicer"})
      (void)run(words(line));  // the first round has none
    for (const char* folder : {"/var/lib/cni/networks/demo", "/var/lib/cni/networks/.slicer/demo"})
      std::filesystem::remove_all(folder);
    const Json result = add_bridge(bridge_of(1), 1);
    must_work(filter(plain.firewall, result, 1));
    return std::pair(result, add_bridge(bridge_of(2), 2));
  };
  const auto [first, second] = start_anew();
  Json closed = plain.firewall;
  closed["drop"] = {"192.0.2.0/24:7777", "[2001:db8:2::/64]:7777"};
  Json whole = closed;
  whole["prevResult"] = second;
  const long rounds = kill_at_every_syscall(
      {.plugin = kPlugin, .conf = whole, .call = call_of(2), .step = 3}, [&] { (void)start_anew(); },
      [&](const KillOutcome& outcome) {
        INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
        must_work(filter(closed, nullptr, 2, "DEL"));
        must_work(filter(closed, second, 2));
        must_work(filter(closed, first, 1, "CHECK"));
        must_work(filter(closed, second, 2, "CHECK"));
        CHECK(count(must("bridge -d link show"), "isolated on") == 2);
      });
  CHECK(rounds > 10);
}
