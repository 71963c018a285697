#include "lib/netfilter/isolation.h"

#include <doctest/doctest.h>

using namespace slicer;
using namespace slicer::netfilter;

TEST_CASE("isolation: an owner's mark is its alias, or hashes where that is too long") {
  CHECK(IsolationOwner{.network = "net", .alias = "slicer:net/vm-1/tap0"}.mark() == "slicer:net/vm-1/tap0");
  const std::string network(150, 'n');
  const IsolationOwner one{.network = network, .alias = "slicer:" + network + "/vm-1/tap0"};
  const IsolationOwner two{.network = network, .alias = "slicer:" + network + "/vm-2/tap0"};
  CHECK(one.mark().size() <= 127);
  CHECK(one.mark() != two.mark());
  CHECK(is_mark_of_network(one.mark(), network));
  CHECK_FALSE(is_mark_of_network(one.mark(), network + "n"));
  CHECK(is_mark_of_network("slicer:net/vm-1/tap0", "net"));
  CHECK_FALSE(is_mark_of_network("slicer:net-2/vm-1/tap0", "net"));
}

TEST_CASE("isolation: link-local and the host are closed, unless an entry names just that address") {
  const std::vector<addr::Ip> host{*addr::parse_ip("192.0.2.1")};
  const std::vector<addr::IpRange> closed = closed_to_isolated(host);
  const auto verdict = [&](const Policy& policy, const char* ip) {
    return compile_policy(policy, closed).verdict_on(*addr::parse_ip(ip), 80);
  };
  Policy policy;
  CHECK(verdict(policy, "192.0.2.1") == PolicyVerdict::kDrop);
  CHECK(verdict(policy, "169.254.169.254") == PolicyVerdict::kDrop);
  CHECK(verdict(policy, "192.0.2.2") == PolicyVerdict::kAllow);
  policy.allow = {*parse_policy_entry("192.0.2.0/24"), *parse_policy_entry("169.254.169.254:80")};
  CHECK(verdict(policy, "192.0.2.1") == PolicyVerdict::kDrop);
  CHECK(verdict(policy, "169.254.169.254") == PolicyVerdict::kAllow);
}
