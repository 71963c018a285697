// The iptables backend's values: rules to the kernel's form and back, trees of lists, and plans from image to image.
#include <doctest/doctest.h>
#include <netinet/in.h>

#include <algorithm>
#include <random>

#include "lib/netfilter/iptables/place.h"

using namespace slicer;
using namespace slicer::netfilter;
using addr::Family;

namespace {

addr::Cidr cidr(const char* text) { return addr::parse_cidr(text).value(); }
addr::Ip ip(const char* text) { return addr::parse_ip(text).value(); }

CompiledPolicy compiled(const std::vector<std::string>& drop, const std::vector<std::string>& allow = {}) {
  Policy policy;
  for (const std::string& entry : drop) policy.drop.push_back(parse_policy_entry(entry).value());
  for (const std::string& entry : allow) policy.allow.push_back(parse_policy_entry(entry).value());
  return compile_policy(policy);
}

NetworkRules demo(const CompiledPolicy& lists) {
  NetworkRules rules{.network = "demo", .masquerade = {cidr("192.0.2.0/24")}};
  rules.forward = Forward{.bridge = "br0", .subnets = {cidr("192.0.2.0/24"), cidr("2001:db8::/64")}};
  rules.policy = PolicyRules{.lists = lists};
  rules.listed_bridge = "br0";
  return rules;
}

/// The image after a change: what put_change() does to a table.
IptImage changed(IptImage image, const IptChange& change) {
  for (const auto& [name, rules] : change.put) image.chains[name] = rules;
  for (const std::string& name : change.removed) image.chains.erase(name);
  for (const std::string& name : change.made) image.others.push_back(name);
  for (const IptHooked& hook : change.unhooked)
    image.hooks.erase(std::ranges::find_if(image.hooks, [&](const IptHooked& one) { return one.same_as(hook); }));
  for (const IptHooked& hook : change.hooked) image.hooks.push_back(hook);
  return image;
}

IptImage empty_mangle(Family family = Family::kIpv4) {
  return {.family = family, .table = IptTable::kMangle, .others = {"PREROUTING", "FORWARD", "OUTPUT"}};
}

/// What a packet meets: first-match evaluation of the chains of a policy, as x_tables does it with gotos alone.
PolicyVerdict walk(const IptChains& chains, const std::string& id, const addr::Ip& to, std::optional<uint16_t> port,
                   size_t& rules_met) {
  std::string chain = ipt_policy_chain(id);
  while (chain != ipt_pass_chain(id) && chain != ipt_drop_chain(id)) {
    std::string next;
    for (const IptRule& rule : chains.at(chain)) {
      ++rules_met;
      const auto range = rule.destination_range();
      const auto ports = rule.destination_ports();
      if (range && !range->contains(to)) continue;
      if (rule.protocol != 0 && (rule.protocol != IPPROTO_TCP || !port)) continue;
      if (ports && (*port < ports->first || *port > ports->last)) continue;
      next = rule.target;
      break;
    }
    REQUIRE_FALSE(next.empty());
    chain = next;
  }
  return chain == ipt_pass_chain(id) ? PolicyVerdict::kAllow : PolicyVerdict::kDrop;
}

}  // namespace

TEST_CASE("iptables: a rule survives the kernel's form") {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    const bool v4 = family == Family::kIpv4;
    const IptRule plain{.family = family};
    const addr::Cidr subnet = cidr(v4 ? "192.0.2.0/24" : "2001:db8::/61");
    const addr::IpRange odd{.first = ip(v4 ? "192.0.2.3" : "2001:db8::3"),
                            .last = ip(v4 ? "192.0.2.9" : "2001:db8::9")};
    for (const IptRule& rule : {
             IptRule(plain).in("br0").says("slicer:demo").jump("ACCEPT"),
             IptRule(plain).in("sl", false, true).out("br0", true).jump("DROP"),
             IptRule(plain).in("fifteen-letters").from(subnet).to(subnet, true).masquerade(),
             IptRule(plain).from_range(odd).to_range(odd).not_to_range(odd).go("slicer-x"),
             IptRule(plain).ports(IPPROTO_TCP, {80, 90}).go("slicer-x"),
             IptRule(plain).ports(IPPROTO_UDP, {53, 53}).reply_direction().jump("RETURN"),
             IptRule(plain).udp(68, 67).destination_type(IptAddressType::kLocal).jump("RETURN"),
             IptRule(plain).icmp_type(135).frame_to({.bytes = {2, 0, 0x5e, 0, 0x53, 1}}).jump("DROP"),
             IptRule(plain).limit(10, 20).log(83, "slicer:demo "),
             IptRule(plain).in("tap0").ipv4_options().jump("DROP"),
             IptRule(plain).in("tap0").from(cidr(v4 ? "192.0.2.2/32" : "2001:db8::2/128"), true).jump("DROP"),
         }) {
      INFO(rule.text());
      std::vector<uint64_t> entry = encode_rule(rule);
      // As the kernel lists it: a chain's or a verdict's name is libiptc's to tell.
      const std::string target = rule.target;
      if (!rule.module) {
        auto* bytes = reinterpret_cast<char*>(entry.data());
        const size_t offset = *reinterpret_cast<uint16_t*>(bytes + (v4 ? 88 : 140));  // ipt_entry, ip6t_entry
        bytes[offset + 2] = '\0';
      }
      CHECK(decode_rule(family, entry.data(), target) == rule);
    }
  }
}

TEST_CASE("iptables: a tree of a policy decides as the policy does, and meets few rules") {
  std::vector<std::string> drop{"203.0.113.0/24:7000-8000", "198.51.100.3-198.51.100.9", "2001:db8::/32",
                                "192.0.2.7:443", "0.0.0.0/1:25"};
  for (int i = 0; i < 3000; ++i) {
    const std::string network = "10." + std::to_string(i / 200) + "." + std::to_string(i % 200);
    drop.push_back(i % 3 == 0 ? network + ".8:80-90" : network + ".16-" + network + ".200");
  }
  for (int port = 1; port < 600; port += 2) drop.push_back("10.2.0.0/16:" + std::to_string(port));
  const CompiledPolicy policy = compiled(drop, {"10.3.0.0/16:85", "203.0.113.5"});
  const std::string id = policy_id(policy, "");
  const IptChains chains = policy_chains({.id = id}, policy);
  for (const auto& [name, rules] : chains) {
    CHECK(name.size() <= kMaxIptChain);
    CHECK(rules.size() <= kFanout + 1);
  }
  std::mt19937 random(4);  // NOLINT: the same cases every time
  for (int i = 0; i < 1000; ++i) {
    const addr::Ip to(Family::kIpv4, (random() % 4 != 0 ? 0x0a000000U : 0xc0000000U) + random() % 0x000f0000U);
    const std::optional<uint16_t> port =
        random() % 4 == 0 ? std::optional<uint16_t>() : static_cast<uint16_t>(random() % 120);
    size_t met = 0;
    INFO(to.text(), " ", port.value_or(0));
    CHECK(walk(chains, id, to, port, met) == policy.verdict_on(to, port));
    CHECK(met < 150);
  }
}

TEST_CASE("iptables: a policy is read back from its chains as it was") {
  for (const CompiledPolicy& policy :
       {compiled({"198.51.100.0/24"}, {"198.51.100.7:3128"}), compiled({"0.0.0.0/0"}, {"192.0.2.7:3128"}),
        compiled({}, {"203.0.113.0/24:443", "2001:db8::1"}), compiled({"0.0.0.0/0:25", "[::/0]:25", "::/0"}),
        compiled({"10.0.0.0/8:1-10", "10.1.0.0/16:5-20", "10.1.2.0/24"}, {"10.1.2.3:7"}), compiled({})}) {
    const std::string id = policy_id(policy, "");
    CompiledPolicy read;
    for (const Family family : {Family::kIpv4, Family::kIpv6})
      add_policy(read, policy_chains({.family = family, .id = id}, policy), id);
    CHECK(read == policy);
  }
}

TEST_CASE("iptables: names fit, long log prefixes too") {
  const std::string network(250, 'n');
  for (const IptPart part : {IptPart::kMasquerade, IptPart::kForward, IptPart::kJudge})
    CHECK(ipt_chain(part, network).size() <= kMaxIptChain);
  CHECK(ipt_log_prefix("demo") == "slicer:demo ");
  CHECK(ipt_log_prefix(network).size() <= 63);
  CHECK(ipt_log_prefix(network) != ipt_log_prefix(network + "n"));
}

TEST_CASE("iptables: a plan is empty once it has been carried out") {
  const NetworkRules rules = demo(compiled({"198.51.100.0/24"}));
  for (const IptTable table : {IptTable::kFilter, IptTable::kNat, IptTable::kMangle}) {
    IptImage image{.table = table};
    const IptChange first = plan_rules(image, rules);
    CHECK_FALSE(first.empty());
    image = changed(image, first);
    CHECK(plan_rules(image, rules).empty());
    // A call that says less takes nothing away.
    CHECK(plan_rules(image, {.network = "demo"}).empty());
    image = changed(image, plan_removal(image, "demo"));
    CHECK(image.chains.empty());
    CHECK(image.hooks.empty());
  }
}

TEST_CASE("iptables: closing chains are hooked in first, masquerading last, forwarding where Docker says") {
  const NetworkRules rules = demo(compiled({"198.51.100.0/24"}));
  CHECK(plan_rules(empty_mangle(), rules).hooked.front().first);
  CHECK_FALSE(plan_rules({.table = IptTable::kNat}, rules).hooked.front().first);
  IptImage filter{.table = IptTable::kFilter, .others = {"FORWARD"}};
  const IptChange before = plan_rules(filter, rules);
  CHECK(before.hooked.front().chain == "FORWARD");
  filter = changed(filter, before);
  filter.others.emplace_back("DOCKER-USER");  // Docker came later: the rule moves
  const IptChange moved = plan_rules(filter, rules);
  REQUIRE(moved.hooked.size() == 1);
  CHECK(moved.hooked.front().chain == "DOCKER-USER");
  REQUIRE(moved.unhooked.size() == 1);
  CHECK(moved.unhooked.front().chain == "FORWARD");
}

TEST_CASE("iptables: the administrator's chain is made once, asked first, and never removed") {
  NetworkRules rules = demo(compiled({}));
  rules.forward->admin_chain = "CNI-ADMIN";
  IptImage image{.table = IptTable::kFilter, .others = {"FORWARD"}};
  const IptChange first = plan_rules(image, rules);
  CHECK(first.made == std::vector<std::string>{"CNI-ADMIN"});
  CHECK(first.put.begin()->second.front().target == "CNI-ADMIN");
  image = changed(image, first);
  CHECK(plan_rules(image, rules).empty());
  const IptChange removal = plan_removal(image, "demo");
  CHECK(std::ranges::find(removal.removed, "CNI-ADMIN") == removal.removed.end());
}

TEST_CASE("iptables: VMs with lists of their own, many of them, and the last one takes its lists along") {
  NetworkRules rules = demo(compiled({}));
  IptImage image = empty_mangle();
  for (unsigned i = 0; i < 200; ++i) {
    rules.policy->vms = {{.owner = "slicer:demo/vm-" + std::to_string(i),
                          .addresses = {addr::Ip(Family::kIpv4, 0xc0000200U + i)},
                          .own = compiled({i % 2 == 0 ? "203.0.113.0/24" : "198.51.100.0/24"})}};
    image = changed(image, plan_rules(image, rules));
  }
  CHECK(read_judge(image.chains, "demo").own.size() == 200);
  for (const auto& [name, chain] : image.chains) CHECK(name.size() <= kMaxIptChain);
  CHECK(plan_vm_removal(image, "demo", [](const std::string&) { return false; }).empty());
  const std::string kept = "slicer:demo/vm-7";
  image = changed(image, plan_vm_removal(image, "demo", [&](const std::string& mark) { return mark != kept; }));
  CHECK(read_judge(image.chains, "demo").own.size() == 1);
  CHECK(std::ranges::count_if(image.chains, [](const auto& one) { return one.first.ends_with("-drop"); }) == 2);
  image = changed(image, plan_vm_removal(image, "demo", [](const std::string&) { return true; }));
  CHECK(image.chains.size() == 1);  // slicer-bridges
  CHECK(image.hooks.empty());
}

TEST_CASE("iptables: equal lists of two networks are one, until the last of them goes") {
  const CompiledPolicy lists = compiled({"198.51.100.0/24"});
  NetworkRules other = demo(lists);
  other.network = "other";
  IptImage image = empty_mangle();
  image = changed(image, plan_rules(image, demo(lists)));
  const size_t alone = image.chains.size();
  image = changed(image, plan_rules(image, other));
  CHECK(image.chains.size() == alone + 2);  // its egress and judge
  image = changed(image, plan_removal(image, "demo"));
  CHECK(image.chains.contains(ipt_policy_chain(policy_id(lists, ""))));
  image = changed(image, plan_removal(image, "other"));
  CHECK(image.chains.empty());
}

TEST_CASE("iptables: the difference of two images brings one to the other, and says nothing of equal ones") {
  const IptRule plain{.family = Family::kIpv4};
  const auto hook = [&](const char* chain, const char* target) {
    return IptHooked{.chain = chain, .rule = IptRule(plain).says("mark").jump(target)};
  };
  IptImage standing = empty_mangle();
  standing.chains = {{"slicer-vm-pre", {IptRule(plain).jump("DROP")}},
                     {"slicer-vm-old", {}},
                     {"slicer-pol-aaaaaaaaaaaa", {}}};  // read without its rules
  standing.hooks = {hook("PREROUTING", "slicer-vm-pre"), hook("FORWARD", "slicer-vm-old")};
  IptImage wanted = empty_mangle();
  wanted.chains = {{"slicer-vm-pre", {IptRule(plain).ipv4_options().jump("DROP")}},
                   {"slicer-pol-aaaaaaaaaaaa", {IptRule(plain).jump("DROP")}},
                   {"slicer-pol-bbbbbbbbbbbb", {IptRule(plain).jump("DROP")}}};
  wanted.hooks = {hook("PREROUTING", "slicer-vm-pre"), hook("OUTPUT", "slicer-vm-pre")};
  const IptChange change = difference_of(standing, wanted);
  CHECK(change.put.size() == 2);
  CHECK(change.put.contains("slicer-vm-pre"));
  CHECK(change.put.contains("slicer-pol-bbbbbbbbbbbb"));  // the name of the other says what is in it
  CHECK(change.removed == std::vector<std::string>{"slicer-vm-old"});
  CHECK(change.hooked.size() == 1);
  CHECK(change.unhooked.size() == 1);
  CHECK(difference_of(changed(standing, change), wanted).empty());
}
