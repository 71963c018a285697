// lib/netfilter against the real nf_tables: what stands, once, and nothing else touched.
#include <doctest/doctest.h>

#include <cstdio>
#include <memory>

#include "tests/system/firewall/firewall_support.h"

using namespace slicer::test;
using namespace slicer::test::firewall;

namespace {

constexpr const char* kExpected = R"(table inet slicer {
	set bridges {
		type ifname
		elements = { "br0" comment "slicer:net1" }
	}

	chain forward-net1 {
		comment "slicer:net1"
		type filter hook forward priority filter; policy accept;
		iifname "br0" accept comment "slicer:net1"
		oifname "br0" ip daddr 192.0.2.0/24 accept comment "slicer:net1"
		oifname "br0" ip6 daddr 2001:db8::/64 accept comment "slicer:net1"
	}

	chain masquerade-net1 {
		comment "slicer:net1"
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 192.0.2.0/24 ip daddr != 192.0.2.0/24 ip daddr != 224.0.0.0/4 masquerade comment "slicer:net1"
		ip6 saddr 2001:db8::/64 ip6 daddr != 2001:db8::/64 ip6 daddr != ff00::/8 masquerade comment "slicer:net1"
	}
}
)";

const std::string kEnsure = std::string("ensure ") + kAll;
const std::string kCheck = std::string("check ") + kAll;

/// 16 first ADDs at the same time.
void ensure_16_times_at_once() {
  const std::string loop = "for i in $(seq 16); do " + driver() + " " + kEnsure + " || echo failed & done; wait";
  const Outcome outcome = run({"sh", "-c", loop});
  INFO(outcome.out, outcome.err);
  CHECK(outcome.out == "");
}

}  // namespace

TEST_CASE("netfilter: a network's constants stand once, however often they are asked for") {
  const Host host;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  must_drive(kEnsure);
  CHECK(ruleset() == kExpected);
  must_drive(kEnsure);
  CHECK(ruleset() == kExpected);
  must_drive(kCheck);
  must_drive("remove net1");
  CHECK(ruleset() == "");
  must_drive("remove net1");
}

TEST_CASE("netfilter: 16 processes at once make nothing twice") {
  const Host host;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  for (int round = 0; round < 5; ++round) {
    ensure_16_times_at_once();
    CHECK(ruleset() == kExpected);
    must_drive("remove net1");
  }
}

TEST_CASE("netfilter: another program that changes its own table all the time does not stop us") {
  const Host host;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  (void)must("nft add table ip busy");
  {
    const Background busy({"sh", "-c", "while :; do nft add chain ip busy c; nft delete chain ip busy c; done"}, "");
    for (int round = 0; round < 5; ++round) {
      ensure_16_times_at_once();
      CHECK(must("nft -s list table inet slicer") == kExpected);
      must_drive("remove net1");
    }
  }
}

TEST_CASE("netfilter: a further range of the pool is added, and the first one stays") {
  const Host host;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  must_drive("ensure net1 masquerade=192.0.2.0/24");
  must_drive("ensure net1 masquerade=198.51.100.0/25");
  must_drive("check net1 masquerade=192.0.2.0/24 masquerade=198.51.100.0/25");
  const std::string both = ruleset();
  must_drive("ensure net1 masquerade=192.0.2.0/24");
  CHECK(ruleset() == both);
}

TEST_CASE("netfilter: other programs' tables keep every byte, and removal leaves no trace") {
  const Host host;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  (void)must("nft add table inet firewalld");
  (void)must("nft add chain inet firewalld filter_FORWARD { type filter hook forward priority 10 ; policy drop ; }");
  (void)must("nft add rule inet firewalld filter_FORWARD counter reject");
  (void)must("iptables-nft -t nat -A POSTROUTING -s 198.51.100.0/24 -j MASQUERADE");
  (void)must("iptables-nft -A FORWARD -i eth9 -m comment --comment slicer:net1x -j ACCEPT");
  const std::string before = ruleset();
  must_drive(kEnsure);
  must_drive("ensure net2 masquerade=203.0.113.0/24");
  CHECK(ruleset().find(before.substr(0, before.size() - 2)) != std::string::npos);
  must_drive("remove net1");
  must_drive("check net2 masquerade=203.0.113.0/24");
  must_drive("remove net2");
  CHECK(ruleset() == before);
}

TEST_CASE("netfilter: what is gone or was changed is named by check and put back by ensure") {
  const Host host;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  struct Damage {
    const char* command;
    const char* named;
  };
  for (const Damage& damage : {
           Damage{"nft flush chain inet slicer masquerade-net1", "rule 'ip saddr 192.0.2.0/24 ip daddr != "},
           Damage{"nft delete chain inet slicer forward-net1", "chain 'forward-net1' in table 'inet slicer' is gone"},
           Damage{"nft delete element inet slicer bridges { br0 }", "'br0' is gone from set 'bridges'"},
           Damage{"nft chain inet slicer forward-net1 { policy drop ; }", "drops by default"},
           Damage{"nft delete table inet slicer", "is gone"},
       }) {
    INFO(damage.command);
    must_drive(kEnsure);
    (void)must(damage.command);
    const Outcome checked = drive(kCheck);
    CHECK(checked.exit_code == 1);
    CHECK(checked.err.find(damage.named) != std::string::npos);
    must_drive(kEnsure);
    must_drive(kCheck);
  }
  CHECK(ruleset() == kExpected);
}

TEST_CASE("netfilter: rules that nft saved and loaded again are still ours") {
  const Host host;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  must_drive(kEnsure);
  REQUIRE(run({"sh", "-c", "nft list ruleset >/run/saved && nft flush ruleset && nft -f /run/saved"}).ok());
  must_drive(kCheck);
  must_drive(kEnsure);
  CHECK(ruleset() == kExpected);
}

TEST_CASE("netfilter: a network with the longest name has rules that can be removed") {
  const Host host;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  const std::string name(250, 'n');
  for (const std::string& network : {name + "a", name + "b"})
    must_drive("ensure " + network + " masquerade=192.0.2.0/24");
  must_drive("check " + name + "a masquerade=192.0.2.0/24");
  must_drive("remove " + name + "a");
  must_drive("check " + name + "b masquerade=192.0.2.0/24");
  must_drive("remove " + name + "b");
  CHECK(ruleset() == "");
}

TEST_CASE("netfilter: a chain of our name on another hook is an error, and stays as it is") {
  const Host host;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  (void)must("nft add table inet slicer");
  (void)must("nft add chain inet slicer masquerade-net1 { type filter hook input priority 0 ; }");
  const std::string before = ruleset();
  const Outcome outcome = drive(kEnsure);
  CHECK(outcome.exit_code == 1);
  CHECK(outcome.err ==
        "use chain 'masquerade-net1' in table 'inet slicer': it is on another hook (nobody else should "
        "write there: nft delete chain inet slicer masquerade-net1)\n");
  CHECK(ruleset() == before);
}

TEST_CASE("netfilter: without CAP_NET_ADMIN there is an error at once") {
  const Host host;
  if (run({"setpriv", "--version"}).exit_code == 127) SLICER_SKIP("needs the program setpriv");
  for (const std::string& verb : {std::string("probe"), kEnsure, kCheck, std::string("foreign")}) {
    const Outcome outcome =
        run(words("setpriv --bounding-set=-net_admin --inh-caps=-net_admin " + driver() + " " + verb));
    INFO(outcome.err);
    CHECK(outcome.exit_code == 1);
    CHECK(outcome.err.find("Operation not permitted (EPERM)") != std::string::npos);
  }
}

TEST_CASE("netfilter: foreign firewalls are found, named, and their openings listed") {
  const Host host;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  CHECK(drive("foreign").out == "");
  (void)must("iptables-nft -P FORWARD ACCEPT");
  CHECK(drive("foreign").out == "");
  (void)must("iptables-nft -P FORWARD DROP");
  (void)must("ip6tables-nft -P FORWARD DROP");
  (void)must("ip6tables-nft -N ufw6-user-forward");
  (void)must("iptables-nft -N DOCKER-USER");
  (void)must("nft add table inet firewalld");
  (void)must("nft add chain inet firewalld filter_FORWARD { type filter hook forward priority 10 ; }");
  (void)must("nft add table inet mine");
  (void)must("nft add chain inet mine forward { type filter hook forward priority 0 ; policy drop ; }");
  must_drive(kEnsure);
  CHECK(drive("foreign").out ==
        "docker ip filter FORWARD opening=DOCKER-USER opened: slicer:net1\n"
        "ufw ip6 filter FORWARD opening=FORWARD opened: slicer:net1\n"
        "firewalld inet firewalld filter_FORWARD opening= opened:\n"
        "nftables inet mine forward opening= opened:\n");
}
