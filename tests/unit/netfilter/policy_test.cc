#include "lib/netfilter/policy.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

using namespace slicer;  // NOLINT(google-build-using-namespace): a test of one library
using netfilter::compile_policy;
using netfilter::CompiledPolicy;
using netfilter::parse_policy_entry;
using netfilter::Policy;
using netfilter::PolicyEntry;
using netfilter::PolicyVerdict;

namespace {

std::vector<PolicyEntry> entries(std::initializer_list<const char*> texts) {
  std::vector<PolicyEntry> list;
  for (const char* text : texts) list.push_back(parse_policy_entry(text).value());
  return list;
}

addr::Ip ip(const char* text) { return addr::parse_ip(text).value(); }

bool allows(const CompiledPolicy& policy, const char* address, std::optional<uint16_t> port = {}) {
  return policy.verdict_on(ip(address), port) == PolicyVerdict::kAllow;
}

// The definition read word by word, one packet at a time: what compile_policy() must agree with.
PolicyVerdict by_definition(const Policy& policy, const addr::Ip& address, std::optional<uint16_t> port,
                            const std::vector<addr::IpRange>& closed = {}) {
  const PolicyEntry* best = nullptr;
  PolicyVerdict verdict = policy.fallback.value_or(
      policy.drop.empty() && !policy.allow.empty() ? PolicyVerdict::kDrop : PolicyVerdict::kAllow);
  const bool is_closed =
      std::ranges::any_of(closed, [&](const addr::IpRange& range) { return range.contains(address); });
  if (is_closed) verdict = PolicyVerdict::kDrop;
  const auto count = [](const auto& ports) { return ports ? ports->last - ports->first : 0; };
  const auto more_specific = [&](const PolicyEntry& a, const PolicyEntry& b) {
    if (a.ports.has_value() != b.ports.has_value()) return a.ports.has_value();
    const addr::Uint128 span_a = a.addresses.last.value() - a.addresses.first.value();
    const addr::Uint128 span_b = b.addresses.last.value() - b.addresses.first.value();
    if (span_a != span_b) return span_a < span_b;
    return count(a.ports) < count(b.ports);
  };
  for (const PolicyVerdict list : {PolicyVerdict::kDrop, PolicyVerdict::kAllow}) {  // drop first: it wins a tie
    for (const PolicyEntry& entry : list == PolicyVerdict::kDrop ? policy.drop : policy.allow) {
      if (!entry.addresses.contains(address)) continue;
      if (is_closed && entry.addresses.first != entry.addresses.last) continue;
      if (entry.ports && (!port || *port < entry.ports->first || *port > entry.ports->last)) continue;
      if (best != nullptr && !more_specific(entry, *best)) continue;
      best = &entry;
      verdict = list;
    }
  }
  return verdict;
}

void check_disjoint(const CompiledPolicy& compiled) {
  for (size_t i = 0; i < compiled.addresses.size(); ++i) {
    for (size_t k = 0; k < i; ++k) CHECK(!compiled.addresses[i].addresses.overlaps(compiled.addresses[k].addresses));
  }
  for (size_t i = 0; i < compiled.ports.size(); ++i) {
    for (size_t k = 0; k < i; ++k) {
      const auto& a = compiled.ports[i];
      const auto& b = compiled.ports[k];
      CHECK(!(a.addresses.overlaps(b.addresses) && a.ports.first <= b.ports.last && b.ports.first <= a.ports.last));
    }
  }
}

// The same pieces in the form for filters that look addresses up first.
void check_stretches(const CompiledPolicy& compiled) {
  std::vector<netfilter::PortVerdict> all;
  for (const addr::Family family : {addr::Family::kIpv4, addr::Family::kIpv6}) {
    const auto stretches = netfilter::cut_to_stretches(compiled.ports, family);
    for (size_t i = 1; i < stretches.size(); ++i) {
      const bool same = stretches[i].addresses == stretches[i - 1].addresses;
      if (same)
        CHECK(stretches[i - 1].ports.last < stretches[i].ports.first);
      else
        CHECK(stretches[i - 1].addresses.last < stretches[i].addresses.first);
    }
    all.insert(all.end(), stretches.begin(), stretches.end());
  }
  CHECK(netfilter::join_pieces(all) == compiled.ports);
}

PolicyEntry with_ports(const std::string& text) { return parse_policy_entry(text).value(); }

// Points at which a list of entries may change its mind, a sample of them.
void check_sample(const Policy& policy, const CompiledPolicy& compiled) {
  std::mt19937 random(7);  // NOLINT: the same cases every time
  std::vector<const PolicyEntry*> all;
  for (const auto* list : {&policy.drop, &policy.allow})
    for (const PolicyEntry& entry : *list) all.push_back(&entry);
  size_t wrong = 0;
  for (int i = 0; i < 300; ++i) {
    const PolicyEntry& place = *all[random() % all.size()];
    const PolicyEntry& other = *all[random() % all.size()];
    const addr::Ip from = random() % 2 == 0 ? place.addresses.first : place.addresses.last;
    const addr::Ip ip = from.plus(random() % 3).plus(~addr::Uint128{0});  // one below it to one above
    const auto around = static_cast<uint16_t>((other.ports ? other.ports->first : 80) + random() % 3 - 1);
    for (const std::optional<uint16_t> port : {std::optional<uint16_t>(around), std::optional<uint16_t>()})
      if (port != 0 && compiled.verdict_on(ip, port) != by_definition(policy, ip, port)) ++wrong;
  }
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("parse_policy_entry: every form comes back as text") {
  for (const char* text : {"192.0.2.0/24", "192.0.2.7", "192.0.2.7-192.0.2.9", "0.0.0.0/0", "192.0.2.7:443",
                           "192.0.2.0/24:80-90", "192.0.2.7-192.0.2.9:53", "2001:db8::/32", "2001:db8::7",
                           "[2001:db8::7]:443", "[2001:db8::/64]:80-90", "::/0", "[::/0]:25"}) {
    CAPTURE(text);
    const auto entry = parse_policy_entry(text);
    REQUIRE(entry);
    CHECK(policy_entry_text(*entry) == text);
  }
  CHECK(policy_entry_text(parse_policy_entry("[2001:db8::7]").value()) == "2001:db8::7");
  CHECK(policy_entry_text(parse_policy_entry("192.0.2.0-192.0.2.255").value()) == "192.0.2.0/24");
}

TEST_CASE("parse_policy_entry: what is none is refused with the entry named") {
  for (const char* text :
       {"", "example.org", "192.0.2.7/24", "192.0.2.0/33", "192.0.2.7:0", "192.0.2.7:65536", "192.0.2.7:90-80",
        "192.0.2.7:", "192.0.2.9-192.0.2.7", "192.0.2.1-2001:db8::1", "[2001:db8::7", "[192.0.2.7]:80",
        "[2001:db8::7]443", "2001:db8::1/64", " 192.0.2.7", "192.0.2.7:http", "[]:80", "192.0.2.7:80-"}) {
    CAPTURE(text);
    const auto entry = parse_policy_entry(text);
    REQUIRE(!entry);
    CHECK(entry.error().kind == Kind::kInvalidConfig);
    CHECK(entry.error().message.find("'" + std::string(text) + "'") != std::string::npos);
    CHECK(!entry.error().hint.empty());
  }
}

TEST_CASE("compile_policy: one proxy is left of everything") {
  const auto policy = compile_policy({.drop = entries({"0.0.0.0/0"}), .allow = entries({"192.0.2.7:3128"})});
  CHECK(allows(policy, "192.0.2.7", 3128));
  CHECK(!allows(policy, "192.0.2.7", 3129));
  CHECK(!allows(policy, "192.0.2.7"));
  CHECK(!allows(policy, "198.51.100.1", 3128));
  CHECK(!allows(policy, "2001:db8::1", 443));
}

TEST_CASE("compile_policy: the internet is left when the LAN is dropped") {
  const auto policy = compile_policy({.drop = entries({"192.168.1.0/24"}), .allow = entries({"0.0.0.0/0"})});
  CHECK(!allows(policy, "192.168.1.9", 80));
  CHECK(allows(policy, "198.51.100.1", 80));
  CHECK(allows(policy, "198.51.100.1"));
}

TEST_CASE("compile_policy: one list decides about the rest, and \"default\" overrides that") {
  CHECK(allows(compile_policy({.drop = entries({"192.0.2.0/24"})}), "198.51.100.1"));
  CHECK(!allows(compile_policy({.allow = entries({"192.0.2.0/24"})}), "198.51.100.1"));
  CHECK(!allows(compile_policy({.allow = entries({"192.0.2.0/24"})}), "2001:db8::1"));
  CHECK(compile_policy({}).allows_everything());
  CHECK(!allows(compile_policy({.drop = entries({"192.0.2.0/24"}), .fallback = PolicyVerdict::kDrop}), "2001:db8::1"));
  CHECK(
      allows(compile_policy({.allow = entries({"192.0.2.0/24"}), .fallback = PolicyVerdict::kAllow}), "198.51.100.1"));
}

TEST_CASE("compile_policy: IPv6 is no way around a dropped IPv4, unless the lists speak of IPv6") {
  CHECK(!allows(compile_policy({.drop = entries({"0.0.0.0/0"})}), "2001:db8::1"));
  CHECK(allows(compile_policy({.drop = entries({"0.0.0.0/0", "2001:db8:1::/48"})}), "2001:db8::1"));
  CHECK(allows(compile_policy({.drop = entries({"0.0.0.0/0:25"})}), "2001:db8::1", 25));
}

TEST_CASE("compile_policy: closed ranges open for exactly one named address only") {
  const std::vector<addr::IpRange> closed = {{.first = ip("169.254.0.0"), .last = ip("169.254.255.255")},
                                             {.first = ip("192.0.2.1"), .last = ip("192.0.2.1")}};
  const auto wide = compile_policy({.allow = entries({"0.0.0.0/0:443", "169.254.169.0/24", "0.0.0.0/0"})}, closed);
  CHECK(!allows(wide, "192.0.2.1", 443));
  CHECK(!allows(wide, "169.254.169.254", 443));
  CHECK(!allows(wide, "169.254.169.254"));
  CHECK(allows(wide, "192.0.2.2", 443));
  const auto exact = compile_policy(
      {.allow = entries({"192.0.2.1:53", "169.254.169.254"}), .fallback = PolicyVerdict::kAllow}, closed);
  CHECK(allows(exact, "192.0.2.1", 53));
  CHECK(!allows(exact, "192.0.2.1", 54));
  CHECK(!allows(exact, "192.0.2.1"));
  CHECK(allows(exact, "169.254.169.254", 80));
  CHECK(!allows(exact, "169.254.169.253", 80));
}

TEST_CASE("compile_policy: agrees with the definition on random lists, and nothing overlaps") {
  std::mt19937 random(20240229);  // a fixed seed: the same cases every time
  const auto number = [&](unsigned below) { return static_cast<unsigned>(random() % below); };
  const auto entry = [&] {
    const bool v6 = number(4) == 0;
    const addr::Family family = v6 ? addr::Family::kIpv6 : addr::Family::kIpv4;
    const unsigned first = number(24);
    PolicyEntry made{
        .addresses = {.first = addr::Ip(family, first), .last = addr::Ip(family, first + number(24 - first))}};
    if (number(8) == 0) made.addresses = {.first = addr::Ip(family, 0), .last = addr::Ip(family, ~addr::Uint128{0})};
    if (number(2) == 0) {
      const auto port = static_cast<uint16_t>(1 + number(6));
      made.ports = {.first = port, .last = static_cast<uint16_t>(port + number(4))};
    }
    return made;
  };
  for (int round = 0; round < 300; ++round) {
    Policy policy;
    for (unsigned i = number(7); i > 0; --i) policy.drop.push_back(entry());
    for (unsigned i = number(7); i > 0; --i) policy.allow.push_back(entry());
    if (number(3) == 0) policy.fallback = number(2) == 0 ? PolicyVerdict::kDrop : PolicyVerdict::kAllow;
    // The one rule that the plain definition lacks has a test of its own; an IPv6 entry that decides nothing switches
    // it off.
    policy.drop.push_back(parse_policy_entry("2001:db8:ffff::1").value());
    if (policy.allow.empty() && !policy.fallback) policy.fallback = PolicyVerdict::kAllow;
    std::vector<addr::IpRange> closed;
    for (unsigned i = number(3); i > 0; --i) closed.push_back(entry().addresses);
    const CompiledPolicy compiled = compile_policy(policy, closed);
    check_disjoint(compiled);
    CHECK(netfilter::join_pieces(compiled.ports) == compiled.ports);
    check_stretches(compiled);
    for (const addr::Family family : {addr::Family::kIpv4, addr::Family::kIpv6}) {
      for (unsigned host = 0; host < 26; ++host) {
        const addr::Ip address(family, host);
        CHECK(compiled.verdict_on(address, {}) == by_definition(policy, address, {}, closed));
        for (uint16_t port = 1; port < 12; ++port)
          CHECK(compiled.verdict_on(address, port) == by_definition(policy, address, port, closed));
      }
    }
  }
}

TEST_CASE("may_drop_within: whether a bridge's own subnet is concerned") {
  const addr::Cidr subnet = addr::parse_cidr("192.0.2.0/24").value();
  CHECK(!compile_policy({.drop = entries({"198.51.100.0/24"})}).may_drop_within(subnet));
  CHECK(compile_policy({.drop = entries({"192.0.2.77:22"})}).may_drop_within(subnet));
  CHECK(compile_policy({.allow = entries({"198.51.100.0/24"})}).may_drop_within(subnet));
  CHECK(compile_policy({.allow = entries({"192.0.2.0/25"})}).may_drop_within(subnet));
  CHECK(!compile_policy({.allow = entries({"192.0.2.0/24"})}).may_drop_within(subnet));
  CHECK(!compile_policy({.allow = entries({"192.0.2.0/25", "192.0.2.128/25", "192.0.2.3"})}).may_drop_within(subnet));
  CHECK(!compile_policy({}).may_drop_within(subnet));
}

TEST_CASE("compile_policy: thousands of entries stay linear in size") {
  Policy policy;
  for (uint32_t i = 0; i < 5000; ++i) {
    const addr::Ip host(addr::Family::kIpv4, 0x0a000000U + i * 2);
    policy.drop.push_back({.addresses = {.first = host, .last = host}});
    policy.allow.push_back({.addresses = {.first = host, .last = host}, .ports = {{.first = 443, .last = 443}}});
  }
  policy.allow.push_back(parse_policy_entry("10.0.0.0/8").value());
  const CompiledPolicy compiled = compile_policy(policy);
  CHECK(compiled.addresses.size() == 5000);
  CHECK(compiled.ports.size() == 5000);
}

TEST_CASE("compile_policy: thousands of entries with ports against thousands of ranges stay as many pieces") {
  Policy policy;
  for (unsigned i = 0; i < 2000; ++i) {
    const std::string range = "10." + std::to_string(i / 200) + "." + std::to_string(i % 200) + ".0/24";
    policy.drop.push_back(with_ports(i % 2 == 0 ? range : range + ":443"));
    policy.allow.push_back(with_ports("10.0.0.0/8:" + std::to_string(1000 + 3 * i)));
  }
  const CompiledPolicy many = compile_policy(policy);
  CHECK(many.ports.size() == 3000);
  CHECK(many.addresses.size() == 1000);
  check_sample(policy, many);

  // Each host has a port of its own, in a range that all of them are within.
  Policy hosts{.drop = {with_ports("10.0.0.0/8:1-65535")}};
  for (unsigned i = 0; i < 2000; ++i) {
    hosts.allow.push_back(
        with_ports("10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ":" + std::to_string(1000 + i)));
    hosts.drop.push_back(with_ports("10.1." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ":443"));
  }
  const CompiledPolicy own = compile_policy(hosts);
  CHECK(own.ports.size() < 3U * 4000);
  check_sample(hosts, own);
}

TEST_CASE("compile_policy: thousands of wide and nested entries agree with the definition") {
  std::mt19937 random(11);  // NOLINT: the same cases every time
  const auto number = [&](unsigned below) { return static_cast<unsigned>(random() % below); };
  Policy policy;
  for (unsigned i = 0; i < 4000; ++i) {
    const unsigned first = number(1U << 24);
    const unsigned port = 1 + number(60000);
    PolicyEntry entry{.addresses = {.first = addr::Ip(addr::Family::kIpv4, 0x0a000000U + first),
                                    .last = addr::Ip(addr::Family::kIpv4, 0x0a000000U + first + number(4096))}};
    if (i % 2 == 0)
      entry.ports = {.first = static_cast<uint16_t>(port), .last = static_cast<uint16_t>(port + number(5000))};
    (number(2) == 0 ? policy.drop : policy.allow).push_back(entry);
  }
  check_sample(policy, compile_policy(policy));
}
