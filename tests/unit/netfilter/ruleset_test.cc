#include "lib/netfilter/ruleset.h"

#include <doctest/doctest.h>

#include <string>

using namespace slicer;
using namespace slicer::netfilter;

namespace {

addr::Cidr cidr(const char* text) { return addr::parse_cidr(text).value(); }

std::vector<std::string> texts(const std::vector<Rule>& rules) {
  std::vector<std::string> lines;
  for (const Rule& rule : rules) lines.push_back(rule_text(rule));
  return lines;
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("network_mark: a name, and a cut one that no other name has") {
  CHECK(network_mark("demo") == "slicer:demo");
  const std::string longest(250, 'n');
  CHECK(network_mark(longest).size() == 127);
  CHECK(network_mark(longest) == network_mark(longest));
  CHECK(network_mark(longest + "a") != network_mark(longest + "b"));
  CHECK(network_mark(longest).find('#') == 127 - 13);
  CHECK(network_mark(std::string(120, 'n')) == "slicer:" + std::string(120, 'n'));
}

TEST_CASE("chain_name: by network and purpose, within the kernel's 255 bytes") {
  CHECK(chain_name(Hook::kForward, "demo") == "forward-demo");
  CHECK(chain_name(Hook::kPostroutingNat, "demo") == "masquerade-demo");
  const std::string longest(250, 'n');
  CHECK(chain_name(Hook::kPostroutingNat, longest).size() <= 255);
  CHECK(chain_name(Hook::kForward, longest + "a") != chain_name(Hook::kForward, longest + "b"));
}

TEST_CASE("own_chains: nothing wanted is nothing") {
  CHECK(own_chains({.network = "demo"}).empty());
  CHECK(own_chains({.network = "demo", .forward = Forward{}}).empty());
}

TEST_CASE("own_chains: masquerade of links is one rule of IPv4") {
  const auto chains = own_chains({.network = "demo", .masquerade_links = "slsabcd"});
  REQUIRE(chains.size() == 1);
  REQUIRE(chains[0].rules.size() == 1);
  CHECK(rule_text(chains[0].rules[0]) == "iifname \"slsabcd*\" ip daddr != 224.0.0.0/4 masquerade");
}

TEST_CASE("own_chains: masquerade leaves the subnet and multicast alone") {
  const auto chains = own_chains({.network = "demo", .masquerade = {cidr("2001:db8::9/64"), cidr("192.0.2.7/24")}});
  REQUIRE(chains.size() == 1);
  CHECK(chains[0].hook == Hook::kPostroutingNat);
  CHECK(chains[0].comment == "slicer:demo");
  CHECK(texts(chains[0].rules) ==
        Lines{"ip saddr 192.0.2.0/24 ip daddr != 192.0.2.0/24 ip daddr != 224.0.0.0/4 masquerade",
              "ip6 saddr 2001:db8::/64 ip6 daddr != 2001:db8::/64 ip6 daddr != ff00::/8 masquerade"});
  CHECK(chains[0].rules[0].comment == "slicer:demo");
}

TEST_CASE("own_chains: the same subnets in any order and writing give the same rules") {
  const NetworkRules once{.network = "demo", .masquerade = {cidr("192.0.2.0/24"), cidr("198.51.100.0/24")}};
  const NetworkRules again{.network = "demo",
                           .masquerade = {cidr("198.51.100.9/24"), cidr("192.0.2.2/24"), cidr("192.0.2.3/24")}};
  CHECK(texts(own_chains(once)[0].rules) == texts(own_chains(again)[0].rules));
}

TEST_CASE("own_chains: forwarding by bridge, and by subnet where there is none") {
  const auto bridged =
      own_chains({.network = "demo",
                  .forward = Forward{.bridge = "br0", .subnets = {cidr("192.0.2.2/24"), cidr("2001:db8::2/64")}}});
  REQUIRE(bridged.size() == 1);
  CHECK(texts(bridged[0].rules) == Lines{R"(iifname "br0" accept)", R"(oifname "br0" ip daddr 192.0.2.0/24 accept)",
                                         R"(oifname "br0" ip6 daddr 2001:db8::/64 accept)"});
  const auto routed = own_chains({.network = "demo", .forward = Forward{.subnets = {cidr("192.0.2.2/24")}}});
  CHECK(texts(routed[0].rules) == Lines{"ip saddr 192.0.2.0/24 accept", "ip daddr 192.0.2.0/24 accept"});
}

TEST_CASE("own_chains: a routed network is closed to isolated VMs, which have no IPv6") {
  const auto chains =
      own_chains({.network = "demo", .forward = Forward{.subnets = {cidr("192.0.2.2/24"), cidr("2001:db8::2/64")}}});
  REQUIRE(chains.size() == 2);
  CHECK(chains[1].name == "routed-demo");
  CHECK(chains[1].comment == "slicer:demo");
  CHECK(texts(chains[1].rules) == Lines{R"(iifname "sls*" ip daddr 192.0.2.0/24 drop)"});
  CHECK(own_chains({.network = "demo", .forward = Forward{.subnets = {cidr("2001:db8::2/64")}}}).size() == 1);
}

TEST_CASE("own_chains: single addresses on a bridge give one rule for all VMs") {
  const auto chains =
      own_chains({.network = "demo",
                  .forward = Forward{.bridge = "br0", .subnets = {cidr("192.0.2.2/32"), cidr("192.0.2.3/32")}}});
  CHECK(texts(chains[0].rules) == Lines{R"(iifname "br0" accept)", R"(oifname "br0" accept)"});
}

TEST_CASE("foreign_openings: of the families that the network has, with counters and its mark") {
  const Forward v4{.bridge = "br0", .subnets = {cidr("192.0.2.2/24")}};
  const auto openings = foreign_openings("demo", v4, addr::Family::kIpv4);
  CHECK(texts(openings) == Lines{R"(iifname "br0" accept)", R"(oifname "br0" ip daddr 192.0.2.0/24 accept)"});
  for (const Rule& rule : openings) {
    CHECK(rule.counter);
    CHECK(rule.comment == "slicer:demo");
  }
  CHECK(foreign_openings("demo", v4, addr::Family::kIpv6).empty());
  CHECK(texts(foreign_openings("demo", {.bridge = "br0"}, addr::Family::kIpv6)) == Lines{R"(iifname "br0" accept)"});
  CHECK(foreign_openings("demo", {}, addr::Family::kIpv4).empty());
}

TEST_CASE("Rule::same_as: a counter does not matter, everything else does") {
  const Rule rule{.matches = {{.field = Field::kInput, .interface = "br0"}}, .comment = "slicer:demo"};
  Rule other = rule;
  other.counter = true;
  CHECK(rule.same_as(other));
  other.comment = "slicer:demo2";
  CHECK_FALSE(rule.same_as(other));
  other = rule;
  other.matches[0].negate = true;
  CHECK_FALSE(rule.same_as(other));
  other = rule;
  other.verdict = Verdict::kDrop;
  CHECK_FALSE(rule.same_as(other));
}

namespace {

CompiledPolicy compiled(const std::vector<std::string>& drop, const std::vector<std::string>& allow = {}) {
  Policy policy;
  for (const std::string& entry : drop) policy.drop.push_back(parse_policy_entry(entry).value());
  for (const std::string& entry : allow) policy.allow.push_back(parse_policy_entry(entry).value());
  return compile_policy(policy);
}

}  // namespace

TEST_CASE("policy_id: the same lists in other words have one name, and a policy that closes nothing always the same") {
  CHECK(policy_id(compiled({"192.0.2.0/25", "192.0.2.128/25"}), "") == policy_id(compiled({"192.0.2.0/24"}), ""));
  CHECK(policy_id(compiled({"192.0.2.0/24"}), "") != policy_id(compiled({"192.0.2.0/25"}), ""));
  CHECK(policy_id(compiled({"192.0.2.0/24"}), "") != policy_id(compiled({"192.0.2.0/24:80"}), ""));
  CHECK(policy_id(compiled({"192.0.2.7:80"}), "") != policy_id(compiled({"192.0.2.7:81"}), ""));
  CHECK(policy_id(compiled({"192.0.2.0/24"}), "") != policy_id(compiled({}, {"192.0.2.0/24"}), ""));
  CHECK(policy_id(compiled({"192.0.2.0/24"}), "a ") != policy_id(compiled({"192.0.2.0/24"}), "b "));
  CHECK(policy_id(compiled({}), "a ") == policy_id(CompiledPolicy{}, ""));
  CHECK(policy_id(compiled({"192.0.2.0/24"}), "").size() == 12);
}

TEST_CASE("vm_mark, log_prefix: what nf_tables has no room for is cut and hashed") {
  const std::string longest(250, 'n');
  CHECK(vm_mark("slicer:net/vm/eth0") == "slicer:net/vm/eth0");
  CHECK(vm_mark(longest + "a").size() == 127);
  CHECK(vm_mark(longest + "a") != vm_mark(longest + "b"));
  CHECK(log_prefix("net") == "slicer:net ");
  CHECK(log_prefix(longest).size() <= 127);
}

TEST_CASE("own_chains: a closed bridge drops what the host would forward from port to port") {
  const addr::Mac mac = addr::parse_mac("02:00:5e:00:53:01").value();
  const auto chains = own_chains({.network = "net", .closed_bridge = ClosedBridge{.name = "br0", .mac = mac}});
  REQUIRE(chains.size() == 1);
  CHECK(chains[0].name == "within-net");
  REQUIRE(chains[0].rules.size() == 1);
  CHECK(rule_text(chains[0].rules[0]) == R"(iifname "br0" oifname "br0" ether daddr 02:00:5e:00:53:01 drop)");
}

TEST_CASE("own_chains: all links of a beginning are one rule each way") {
  const Forward forward{.bridge = "sls", .any_link = true, .subnets = {addr::parse_cidr("192.0.2.7/32").value()}};
  const auto chains = own_chains({.network = "net", .forward = forward});
  REQUIRE(chains.size() == 1);
  REQUIRE(chains[0].rules.size() == 2);
  CHECK(rule_text(chains[0].rules[0]) == R"(iifname "sls*" accept)");
  CHECK(rule_text(chains[0].rules[1]) == R"(oifname "sls*" accept)");
}
