// Section 2, CHECK.
#include <filesystem>

#include "tests/system/conformance/firewalld.h"
#include "tests/system/conformance/requirement.h"

namespace slicer::test::conformance {
namespace {

bool has_reservation(const Subject& subject) { return !chained(subject); }

bool is_bridge(const Subject& subject) { return label(subject) == "slicer-bridge"; }

/// A container's interface has its anti-spoofing filter on the host's end.
bool has_filters_inside(const Subject& subject) {
  return makes_link(subject) && label(subject) != "slicer-bridge veth";
}

/// An address that the attachment has not, of its network where that has a pool.
std::string elsewhere(const Subject& subject) {
  if (chained(subject)) return "203.0.113.77/24";
  return calls_ipam(subject) ? subject.lease : "192.0.2.77/24";
}

}  // namespace

CONFORMANCE(check_after_add, "2 CHECK", "MUST", "succeeds immediately after an ADD, and prints nothing", every,
            {.broken_by = {"fail=CHECK", "say"}}) {
  const Json result = stage.add(verdict);
  const Answer answer = stage.run(stage.conf_with(result), stage.call("CHECK"));
  verdict.expect(answer.ok(), "CHECK failed", answer);
  verdict.expect(answer.out.empty(), "CHECK prints something", answer);
}

CONFORMANCE(check_consults_prev_result, "2 CHECK", "MUST", "takes what is expected from prevResult", every,
            {.broken_by = {"skip=CHECK"}}) {
  const Json result = stage.add(verdict);
  const Json conf = stage.conf_with(with(result, "/ips/0/address", elsewhere(stage.subject())));
  const Answer answer = stage.run(conf, stage.call("CHECK"));
  verdict.expect(answer.code() == 105, "an address of prevResult that nobody has is not missed", answer);
}

CONFORMANCE(check_allows_later_changes, "2 CHECK", "MUST", "allows what later plugins of the chain changed", every,
            {.broken_by = {"fail=CHECK"}}) {
  Json result = stage.add(verdict);
  for (const char* line :
       {"ip link add later0 type bridge", "ip link set later0 up", "ip route add 203.0.113.0/24 dev later0"})
    (void)must(line, stage.box().path());
  result["interfaces"].push_back({{"name", "later0"}, {"sandbox", stage.box().path()}});
  result["routes"].push_back({{"dst", "203.0.113.0/24"}});
  result["dns"] = {{"nameservers", {"192.0.2.53"}}, {"domain", "later.example"}};
  const Answer answer = stage.run(stage.conf_with(result), stage.call("CHECK"));
  verdict.expect(answer.ok(), "CHECK failed", answer);
}

CONFORMANCE(check_allows_later_routes, "2 CHECK", "MUST",
            "allows a later plugin's route by another link beside a container's interface (device: veth)", is_bridge,
            {.broken_by = {"fail=CHECK"}}) {
  const Json conf = with(stage.conf(), "device", "veth");
  Answer added = stage.run(conf, stage.call("ADD"));
  verdict.require(added.ok(), "ADD failed", added);
  for (const char* line :
       {"ip link add later0 type bridge", "ip link set later0 up", "ip route add 203.0.113.0/24 dev later0"})
    (void)must(line, stage.box().path());
  added.json["routes"].push_back({{"dst", "203.0.113.0/24"}});
  const Answer allowed = stage.run(with(conf, "prevResult", added.json), stage.call("CHECK"));
  verdict.expect(allowed.ok(), "CHECK failed", allowed);
  (void)must("ip route del default", stage.box().path());
  verdict.expect_error(stage.run(with(conf, "prevResult", added.json), stage.call("CHECK")), 105, "0.0.0.0/0");
}

CONFORMANCE(check_misses_interface, "2 CHECK", "SHOULD", "an interface of prevResult that is missing is an error",
            makes_link, {.broken_by = {"skip=CHECK"}}) {
  const Json result = stage.add(verdict);
  const std::string link = stage.subject().link;
  (void)must("ip link del " + link, stage.box().path());
  verdict.expect_error(stage.run(stage.conf_with(result), stage.call("CHECK")), 105, link);
}

CONFORMANCE(check_misses_up, "2 CHECK", "SHOULD", "an interface in an invalid state is an error", makes_link,
            {.broken_by = {"skip=CHECK"}}) {
  const Json result = stage.add(verdict);
  const std::string link = stage.subject().link;
  (void)must("ip link set " + link + " down", stage.box().path());
  verdict.expect_error(stage.run(stage.conf_with(result), stage.call("CHECK")), 105, link);
}

CONFORMANCE(check_misses_reservation, "2 CHECK", "SHOULD", "an IP reservation that is missing is an error",
            has_reservation, {.broken_by = {"skip=CHECK"}}) {
  const Json result = stage.add(verdict);
  for (const auto& network : std::filesystem::directory_iterator("/var/lib/cni/networks"))
    (void)std::filesystem::remove_all(network);
  verdict.expect_error(stage.run(stage.conf_with(result), stage.call("CHECK")), 105, "vm-1/tap0");
}

CONFORMANCE(check_misses_rules, "2 CHECK", "SHOULD", "firewall rules that are missing are an error", is_firewall,
            {.broken_by = {"skip=CHECK"}}) {
  const Json result = stage.add(verdict);
  if (stage.subject().firewalld)
    remove_trusted_source(ip_of(result, 4) + "/32");
  else
    (void)must(label(stage.subject()) == "slicer-firewall" ? "nft delete table inet slicer"
                                                           : "iptables-legacy -F FORWARD");
  verdict.expect_error(stage.run(stage.conf_with(result), stage.call("CHECK")), 105,
                       stage.subject().firewalld ? "trusted" : "net");
}

CONFORMANCE(check_misses_shaping, "2 CHECK", "SHOULD", "traffic controls that are missing are an error",
            has_filters_inside, {.broken_by = {"skip=CHECK"}}) {
  const Json result = stage.add(verdict);
  const std::string link = stage.subject().link;
  (void)must("tc qdisc del dev " + link + " clsact", stage.box().path());
  verdict.expect_error(stage.run(stage.conf_with(result), stage.call("CHECK")), 105, link);
}

CONFORMANCE(check_misses_namespace, "2 CHECK", "SHOULD", "a container that cannot be reached at all is an error",
            makes_link, {.broken_by = {"skip=CHECK"}}) {
  const Json result = stage.add(verdict);
  const Json conf = stage.conf_with(result);
  const Call call = stage.call("CHECK");
  stage.box().remove();
  verdict.expect_error(stage.run(conf, call), 4, "CNI_NETNS");
}

}  // namespace slicer::test::conformance
