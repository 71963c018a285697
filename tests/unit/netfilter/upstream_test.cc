#include <doctest/doctest.h>

#include "lib/netfilter/upstream_rules.h"

using namespace slicer;
using namespace slicer::netfilter;

namespace {

addr::Cidr cidr(const char* text) { return *addr::parse_cidr_or_ip(text); }

UpstreamOwners only_a() {
  return {.network = "plain", .only = UpstreamAttachment{.container_id = "a", .ifname = "eth0"}};
}

Rule jump(const char* source, const std::string& network, const std::string& id) {
  return {.matches = {{.field = Field::kSource, .prefix = cidr(source)}},
          .verdict = Verdict::kJump,
          .target = upstream_chain(network, id),
          .comment = upstream_comment(network, id)};
}

Rule opening(Field field, const char* address) {
  Rule rule{.matches = {{.field = field, .prefix = cidr(address)}}};
  if (field == Field::kDestination) rule.matches.push_back({.field = Field::kReplies});
  return rule;
}

}  // namespace

// Values: what upstream's plugins v1.9.1 wrote.
TEST_CASE("upstream: names and comments") {
  CHECK(upstream_chain("plain", "abc") == "CNI-60c2f84cf0798f6036197468");
  CHECK(upstream_comment("plain", "abc") == R"(name: "plain" id: "abc")");
  CHECK(upstream_network_hash("plain") == "ccdd3da9f299d11b-");
  CHECK(upstream_instance("plain", {.container_id = "abc", .ifname = "eth0"}) == "ccdd3da9f299d11b-e65086f8a75535c6,");
  CHECK(upstream_spoof_chain({.container_id = "abc", .ifname = "eth0"}) == "cni-br-iface-abc-eth0");
}

TEST_CASE("upstream: DEL takes the jumps of the attachment's addresses alone") {
  const UpstreamOwners owners = only_a();
  const UpstreamJudge judge{.owners = owners, .addresses = {cidr("192.0.2.2").ip, cidr("2001:db8::2").ip}};
  CHECK(judge.leads_to_masquerade(jump("192.0.2.2", "plain", "a")));
  CHECK(judge.leads_to_masquerade(jump("2001:db8::2", "plain", "a")));
  CHECK(judge.leads_to_masquerade(jump("192.0.2.0/24", "plain", "a")));     // plugins before 0.8
  CHECK_FALSE(judge.leads_to_masquerade(jump("192.0.2.3", "plain", "a")));  // another interface of the container
  CHECK_FALSE(judge.leads_to_masquerade(jump("192.0.2.2", "plain", "b")));
  CHECK_FALSE(judge.leads_to_masquerade(jump("192.0.2.2", "other", "a")));
  Rule same_chain = jump("192.0.2.2", "plain", "a");  // "plai" and "na" have that chain, too
  same_chain.comment = upstream_comment("plai", "na");
  CHECK_FALSE(judge.leads_to_masquerade(same_chain));
  Rule elsewhere = jump("192.0.2.2", "plain", "a");
  elsewhere.target = "CNI-elsewhere";
  CHECK_FALSE(judge.leads_to_masquerade(elsewhere));
  Rule negated = jump("192.0.2.2", "plain", "a");
  negated.matches.front().negate = true;
  CHECK_FALSE(judge.leads_to_masquerade(negated));
}

TEST_CASE("upstream: GC takes the network's containers that have no valid attachment") {
  const UpstreamOwners owners{.network = "plain", .valid = {{.container_id = "a", .ifname = "eth0"}}};
  const UpstreamJudge judge{.owners = owners};
  CHECK(judge.leads_to_masquerade(jump("192.0.2.9", "plain", "b")));
  CHECK_FALSE(judge.leads_to_masquerade(jump("192.0.2.9", "plain", "a")));
  CHECK_FALSE(judge.leads_to_masquerade(jump("192.0.2.9", "other", "b")));
  CHECK(judge.masquerades(upstream_instance("plain", {.container_id = "b", .ifname = "eth0"}) + " net: plain"));
  CHECK_FALSE(judge.masquerades(upstream_instance("plain", {.container_id = "a", .ifname = "eth0"}) + " net: plain"));
  CHECK_FALSE(judge.masquerades(upstream_instance("other", {.container_id = "b", .ifname = "eth0"}) + " net: other"));
  CHECK_FALSE(judge.masquerades("an administrator's"));
}

TEST_CASE("upstream: its firewall's rules of an address, and none that says anything else") {
  const UpstreamOwners owners = only_a();
  const UpstreamJudge judge{.owners = owners, .addresses = {cidr("192.0.2.2").ip}};
  CHECK(judge.opens(opening(Field::kSource, "192.0.2.2")));
  CHECK(judge.opens(opening(Field::kDestination, "192.0.2.2")));
  CHECK_FALSE(judge.opens(opening(Field::kSource, "192.0.2.3")));
  CHECK_FALSE(judge.opens(opening(Field::kSource, "192.0.2.2/31")));
  Rule all_in = opening(Field::kDestination, "192.0.2.2");
  all_in.matches.pop_back();
  CHECK_FALSE(judge.opens(all_in));
  Rule of_link = opening(Field::kSource, "192.0.2.2");
  of_link.matches.push_back({.field = Field::kInput, .interface = "eth0"});
  CHECK_FALSE(judge.opens(of_link));
  Rule drop = opening(Field::kSource, "192.0.2.2");
  drop.verdict = Verdict::kDrop;
  CHECK_FALSE(judge.opens(drop));
  Rule noted = opening(Field::kSource, "192.0.2.2");
  noted.comment = "mine";
  CHECK_FALSE(judge.opens(noted));
}
