// The iptables backend against the real legacy tables: what stands, once, and nothing else touched.
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/system/firewall/iptables_support.h"

using namespace slicer::test;
using namespace slicer::test::firewall;

namespace {

const std::string kEnsure = std::string("ensure ") + kAll;
const std::string kCheck = std::string("check ") + kAll;
const std::string kLists =
    "net1 bridge=br0 forward=192.0.2.0/24 forward=2001:db8::/64 drop=198.51.100.0/24 drop=203.0.113.7-203.0.113.9 "
    "allow=198.51.100.7:3128 log=1";

}  // namespace

TEST_CASE("iptables: a network's constants stand once, however often they are asked for") {
  const Host host;
  if (const std::string missing = missing_legacy(); !missing.empty()) SLICER_SKIP(missing);
  const std::string before = legacy_rules();
  must_drive_legacy(kEnsure);
  const std::string once = legacy_rules();
  CHECK(once.find("-m comment --comment \"slicer:net1\" -j MASQUERADE") != std::string::npos);
  CHECK(once.find("-i br0 -m comment --comment \"slicer:net1\" -j ACCEPT") != std::string::npos);
  must_drive_legacy(kEnsure);
  CHECK(legacy_rules() == once);
  must_drive_legacy(kCheck);
  must_drive_legacy("remove net1");
  CHECK(legacy_rules() == before);
  must_drive_legacy("remove net1");
}

TEST_CASE("iptables: 16 processes at once make nothing twice") {
  const Host host;
  if (const std::string missing = missing_legacy(); !missing.empty()) SLICER_SKIP(missing);
  must_drive_legacy(kEnsure);
  const std::string once = legacy_rules();
  for (int round = 0; round < 3; ++round) {
    must_drive_legacy("remove net1");
    const Outcome outcome =
        legacy_shell("for i in $(seq 16); do " + driver() + " " + kEnsure + " || echo failed & done; wait");
    CHECK(outcome.out == "");
    CHECK(legacy_rules() == once);
  }
}

TEST_CASE("iptables: other programs' rules keep every byte and their order") {
  const Host host;
  if (const std::string missing = missing_legacy(); !missing.empty()) SLICER_SKIP(missing);
  for (const char* line : {"iptables-legacy -P FORWARD DROP", "iptables-legacy -N KUBE-FORWARD",
                           "iptables-legacy -A FORWARD -i eth9 -m comment --comment slicer:net1x -j ACCEPT",
                           "iptables-legacy -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j KUBE-FORWARD",
                           "iptables-legacy -t nat -A POSTROUTING -s 198.51.100.0/24 -j MASQUERADE",
                           "iptables-legacy -t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 192.0.2.8",
                           "iptables-legacy -t mangle -A PREROUTING -m limit --limit 3/min -j MARK --set-mark 7",
                           "ip6tables-legacy -A FORWARD -p tcp -m multiport --dports 80,443 -j REJECT"})
    (void)must(line);
  must_drive_legacy(
      "ensure warm masquerade=203.0.113.0/24 masquerade=2001:db8:9::/64 bridge=br9 forward=203.0.113.0/24 "
      "forward=2001:db8:9::/64 list=br9");
  const std::string before = legacy_rules();
  must_drive_legacy(kEnsure);
  must_drive_legacy("ensure " + kLists);
  CHECK(without_ours(legacy_rules()) == without_ours(before));
  must_drive_legacy("check warm masquerade=203.0.113.0/24");
  must_drive_legacy("remove net1");
  CHECK(legacy_rules() == before);
}

TEST_CASE("iptables: lists stand once, are compared whole, replaced, and go") {
  const Host host;
  if (const std::string missing = missing_legacy(); !missing.empty()) SLICER_SKIP(missing);
  must_drive_legacy(kEnsure);
  const std::string constants = legacy_rules();
  must_drive_legacy("ensure " + kLists);
  const std::string once = legacy_rules();
  must_drive_legacy("ensure " + kLists);
  CHECK(legacy_rules() == once);
  must_drive_legacy("check " + kLists);
  const std::string listed = drive_legacy("list net1").out;
  for (const char* line : {"  allow 198.51.100.7:3128\n", "  drop 198.51.100.0/24\n", " default=allow\n", " log "})
    CHECK(listed.find(line) != std::string::npos);
  CHECK(listed.find("  drop 203.0.113.7-203.0.113.9\n") != std::string::npos);
  must_drive_legacy("ensure net1 bridge=br0 forward=192.0.2.0/24 drop=203.0.113.0/24");
  CHECK(drive_legacy("check " + kLists).exit_code == 1);
  CHECK(legacy_rules().find("198.51.100.7") == std::string::npos);
  must_drive_legacy("ensure net1 bridge=br0 forward=192.0.2.0/24 none=1");
  CHECK(legacy_rules() == constants);
}
