// The iptables backend against the real legacy tables: what stands, once, and nothing else touched.
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/system/firewall/policy_support.h"
#include "tests/system/fixture/kill_at_syscall.h"
#include "tests/system/fixture/snapshot.h"

using namespace slicer::test;
using namespace slicer::test::firewall;

namespace {

const std::string kEnsure = std::string("ensure ") + kAll;
const std::string kCheck = std::string("check ") + kAll;
const std::string kLists =
    "net1 bridge=br0 forward=192.0.2.0/24 forward=2001:db8::/64 drop=198.51.100.0/24 drop=203.0.113.7-203.0.113.9 "
    "allow=198.51.100.7:3128 log=1";

/// Docker on the old iptables.
void make_legacy_docker() {
  for (const char* program : {"iptables-legacy", "ip6tables-legacy"}) {
    const std::string start = program;
    (void)must(start + " -P FORWARD DROP");
    (void)must(start + " -N DOCKER-USER");
    (void)must(start + " -A DOCKER-USER -j RETURN");
    (void)must(start + " -A FORWARD -j DOCKER-USER");
  }
}

/// slicer-bridge and slicer-firewall without a word of a backend.
Chain plain_chain() {
  Chain chain;
  chain.bridge.erase("ipMasqBackend");
  chain.firewall.erase("backend");
  return chain;
}

void must_reach_the_internet(const Vm& vm) {
  CHECK(soon_reaches(vm.netns(), {Protocol::kIcmp, Surroundings::kInternet, 0}));
  CHECK(soon_reaches(vm.netns(), {Protocol::kIcmp, Surroundings::kInternet6, 0}));
}

}  // namespace

TEST_CASE("iptables: another backend's lists go with the next ADD, and VMs keep their own") {
  const Host host;
  if (const std::string missing = missing_legacy(); !missing.empty()) SLICER_SKIP(missing);
  const std::string rules = "net1 masquerade=192.0.2.0/24 bridge=br0 forward=192.0.2.0/24 drop=198.51.100.0/24 ";
  const std::string own = "vm=slicer:net1/vm-2/tap0@192.0.2.2@203.0.113.0/24";
  const auto with = [](const char* backend, const std::string& line) {
    const Outcome outcome =
        run(words(driver() + " " + line), {.env = {{{"PATH", getenv("PATH")}, {"SLICER_BACKEND", backend}}}});
    if (!outcome.ok()) give_up(line + ": " + outcome.err);
    return outcome.out;
  };
  const std::string next = " vm=slicer:net1/vm-1/tap0@192.0.2.1";
  (void)with("nftables", "ensure " + rules + own);
  CHECK(ruleset().find("egress-net1") != std::string::npos);
  (void)with("iptables", "ensure " + rules + next);
  CHECK(ruleset().find("egress-net1") == std::string::npos);
  CHECK(ruleset().find("masquerade-net1") == std::string::npos);
  CHECK(legacy_rules().find("slicer:net1/vm-2/tap0") != std::string::npos);
  CHECK(legacy_rules().find("203.0.113.0/24 -g") != std::string::npos);
  CHECK(legacy_rules().find("MASQUERADE") != std::string::npos);
  (void)with("nftables", "ensure " + rules + next);
  CHECK(legacy_rules().find("slicer-egr") == std::string::npos);
  CHECK(legacy_rules().find("slicer-pol") == std::string::npos);
  CHECK(legacy_rules().find("MASQUERADE") == std::string::npos);
  CHECK(with("nftables", "list net1").find("vm slicer:net1/vm-2/tap0 192.0.2.2") != std::string::npos);
  (void)with("nftables", "check " + rules + next);
}

TEST_CASE("iptables: what another backend had of a network goes with the next ADD, whatever it was") {
  const Host host;
  if (const std::string missing = missing_legacy(); !missing.empty()) SLICER_SKIP(missing);
  const std::string rules =
      "net1 masquerade=192.0.2.0/24 bridge=br0 forward=192.0.2.0/24 drop=192.0.2.9 segregated=1 list=br0 "
      "closed=br0 vm=slicer:net1/vm-1/tap0@192.0.2.1";
  const auto with = [](const char* backend, const std::string& line) {
    const Outcome outcome =
        run(words(driver() + " " + line), {.env = {{{"PATH", getenv("PATH")}, {"SLICER_BACKEND", backend}}}});
    if (!outcome.ok()) give_up(line + ": " + outcome.err);
  };
  with("iptables", "ensure " + rules);
  for (const char* part : {"slicer-fwd-", "slicer-wth-", "slicer-dad-", "slicer-red-"})
    REQUIRE(legacy_rules().find(part) != std::string::npos);
  with("nftables", "ensure " + rules);
  for (const char* part : {"slicer-msq-", "slicer-egr-", "slicer-fwd-", "slicer-wth-", "slicer-dad-", "slicer-red-"}) {
    CAPTURE(part);
    CHECK(legacy_rules().find(part) == std::string::npos);
  }
  with("nftables", "check " + rules);
  with("iptables", "ensure " + rules);
  with("iptables", "check " + rules);
  for (const char* chain : {"masquerade-", "egress-", "within-", "detection-", "redirects-"}) {
    CAPTURE(chain);
    CHECK(ruleset().find(std::string("chain ") + chain) == std::string::npos);
  }
  // A FORWARD that drops keeps its opening.
  (void)must("iptables-legacy -P FORWARD DROP");
  with("nftables", "ensure " + rules);
  CHECK(legacy_rules().find("slicer-fwd-") != std::string::npos);
  CHECK(legacy_rules().find("slicer-wth-") == std::string::npos);
  with("nftables", "check " + rules);
  with("nftables", "remove net1");
  CHECK(ruleset() == "");
  CHECK(legacy_rules().find("slicer-") == std::string::npos);
}

TEST_CASE("iptables: ingressPolicy knows a bridge of nftables by any name") {
  const Host host;
  if (const std::string missing = missing_legacy(); !missing.empty()) SLICER_SKIP(missing);
  must_drive("ensure first list=lan9");
  must_drive_legacy("ensure net1 list=br0 bridge=br0 forward=192.0.2.0/24 ingress=same-bridge");
  CHECK(legacy_rules().find("-A slicer-bridges -i lan9 ") != std::string::npos);
  // One that comes later, as "auto" puts a network that stands in nftables already.
  const Outcome outcome = run(words(driver() + " ensure second list=lan8"),
                              {.env = {{{"PATH", getenv("PATH")}, {"SLICER_BACKEND", "nftables"}}}});
  CHECK_MESSAGE(outcome.ok(), outcome.err);
  CHECK(legacy_rules().find("-A slicer-bridges -i lan8 ") != std::string::npos);
  must_drive("remove second");
  CHECK(legacy_rules().find("lan8") == std::string::npos);
}

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

TEST_CASE("iptables: what is gone is named by check and put back by ensure") {
  const Host host;
  if (const std::string missing = missing_legacy(); !missing.empty()) SLICER_SKIP(missing);
  struct Damage {
    const char* command;
    const char* named;
  };
  must_drive_legacy(kEnsure);
  const std::string whole = legacy_rules();
  for (const Damage& damage : {
           Damage{"iptables-legacy -t nat -F POSTROUTING",
                  "is gone from chain 'POSTROUTING' in table 'nat' of iptables"},
           Damage{"iptables-legacy -F", "is gone from chain 'slicer-fwd-"},
           Damage{"ip6tables-legacy -t nat -F", "is gone from chain 'slicer-msq-"},
           Damage{"ip6tables-legacy -t mangle -F", "in table 'mangle' of ip6tables"},
           Damage{"nft delete element inet slicer bridges { br0 }", "'br0' is gone from set 'bridges'"},
       }) {
    INFO(damage.command);
    (void)must(damage.command);
    const Outcome checked = drive_legacy(kCheck);
    INFO(checked.err);
    CHECK(checked.exit_code == 1);
    CHECK(checked.err.find(damage.named) != std::string::npos);
    must_drive_legacy(kEnsure);
    must_drive_legacy(kCheck);
  }
  CHECK(legacy_rules() == whole);
}

TEST_CASE("iptables: rules that were saved and restored are still ours, and not made twice") {
  const Host host;
  if (const std::string missing = missing_legacy(); !missing.empty()) SLICER_SKIP(missing);
  must_drive_legacy(kEnsure);
  must_drive_legacy("ensure " + kLists);
  const std::string once = legacy_rules();
  for (const std::string& program : {std::string("iptables-legacy"), std::string("ip6tables-legacy")})
    REQUIRE(run({"sh", "-c", program + "-save >/run/saved && " + program + "-restore </run/saved"}).ok());
  must_drive_legacy("check " + kLists);
  must_drive_legacy("ensure " + kLists);
  must_drive_legacy(kEnsure);
  CHECK(legacy_rules() == once);
}

TEST_CASE("iptables: the administrator's chain is asked first and stays") {
  const Host host;
  if (const std::string missing = missing_legacy(); !missing.empty()) SLICER_SKIP(missing);
  const std::string network = "net1 bridge=br0 forward=192.0.2.0/24 admin=CNI-ADMIN";
  must_drive_legacy("ensure net1 bridge=br0 forward=192.0.2.0/24");  // of a version that knew no such chain
  must_drive_legacy("ensure " + network);
  (void)must("iptables-legacy -A CNI-ADMIN -i br0 -p tcp --dport 25 -j DROP");
  const std::string rules = must("iptables-legacy -S");
  must_drive_legacy("ensure " + network);
  CHECK(must("iptables-legacy -S") == rules);
  CHECK(rules.find(" -j CNI-ADMIN\n-A slicer-fwd-") != std::string::npos);
  must_drive_legacy("remove net1");
  CHECK(must("iptables-legacy -S CNI-ADMIN") == "-N CNI-ADMIN\n-A CNI-ADMIN -i br0 -p tcp -m tcp --dport 25 -j DROP\n");
}

TEST_CASE("iptables: a lock that somebody holds is waited for, past the limit its holder is named") {
  const Host host;
  if (const std::string missing = missing_legacy(); !missing.empty()) SLICER_SKIP(missing);
  const Background holder({"flock", "/run/xtables.lock", "sleep", "1000"}, "");
  REQUIRE(eventually([] { return !run({"flock", "-n", "/run/xtables.lock", "true"}).ok(); }));
  const Outcome refused = drive_legacy("lock 100");
  INFO(refused.err);
  CHECK(refused.exit_code == 1);
  CHECK(refused.err.find("lock '/run/xtables.lock': held by 'flock' (pid ") == 0);
  CHECK(refused.err.find("for more than 100 ms (some program changes rules of iptables") != std::string::npos);
  CHECK(run(words(driver() + " lock 100"),
            {.env =
                 std::map<std::string, std::string>{{"PATH", getenv("PATH")}, {"XTABLES_LOCKFILE", "/run/other.lock"}}})
            .ok());
  // Who has something to write waits until the lock is free; who has not does not ask for it. Free it becomes when he
  // is seen to have asked in vain, and again.
  const Outcome waited = legacy_shell(
      "touch /run/trace; flock /run/xtables.second sh -c 'touch /run/held; for i in $(seq 1000); do "
      "[ $(grep -c EAGAIN /run/trace) -lt 2 ] || { touch /run/freed; exit; }; sleep 0.01; done' & "
      "until [ -e /run/held ]; do sleep 0.01; done; export XTABLES_LOCKFILE=/run/xtables.second; "
      "strace -f -e trace=flock -o /run/trace " +
      driver() + " " + kEnsure + " && [ -e /run/freed ]");
  INFO(waited.err);
  CHECK(waited.ok());
  must_drive_legacy(kEnsure);
}

TEST_CASE("iptables: an unprivileged caller gets an error at once") {
  const Host host;
  if (const std::string missing = missing_legacy(); !missing.empty()) SLICER_SKIP(missing);
  if (run({"setpriv", "--version"}).exit_code == 127) SLICER_SKIP("needs the program setpriv");
  for (const std::string& verb : {std::string("probe"), kEnsure, kCheck}) {
    const Outcome outcome =
        run(words("setpriv --bounding-set=-net_admin --inh-caps=-net_admin " + driver() + " " + verb),
            {.env = legacy_environment()});
    INFO(outcome.err);
    CHECK(outcome.exit_code == 1);
    CHECK(outcome.err.find("read table ") != std::string::npos);
  }
}

TEST_CASE("iptables: without legacy tables auto asks nothing of them and makes none") {
  const Host host;
  const Surroundings around;
  const Vm vm(plain_chain(), 1);
  must_reach_the_internet(vm);
  CHECK(run({"cat", "/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"}).out == "");
  CHECK(ruleset().find("forward-demo") != std::string::npos);
}

TEST_CASE("iptables: where Docker uses the old iptables, auto goes there, and DOCKER-USER gets the opening") {
  const Host host;
  if (const std::string missing = missing_legacy(); !missing.empty()) SLICER_SKIP(missing);
  make_legacy_docker();
  const std::string before = legacy_rules();
  const Surroundings around;
  Chain chain = plain_chain();
  chain.firewall["drop"] = {"198.51.100.0/24"};
  const Vm vm(chain, 1);
  must_reach_the_internet(vm);
  CHECK_FALSE(reaches(vm.netns(), {Protocol::kIcmp, Surroundings::kLanMachine, 0}));
  CHECK(must("iptables-legacy -S DOCKER-USER").find("-j slicer-fwd-") != std::string::npos);
  for (const char* name : {"masquerade-demo", "egress-demo"}) CHECK(ruleset().find(name) == std::string::npos);
  CHECK(ruleset().find("\"slicer0\" comment \"slicer:demo\"") != std::string::npos);  // for isolated networks
  CHECK(drive("foreign").out.find("docker ip filter (legacy) FORWARD opening=DOCKER-USER opened: slicer:demo") !=
        std::string::npos);
  CHECK(drive("list demo").out.find("  drop 198.51.100.0/24\n") != std::string::npos);  // what `vm firewall` shows
  del_chain(chain, vm.result, vm.call);
  must_drive("remove demo");
  (void)must("iptables-legacy -X CNI-ADMIN");
  (void)must("ip6tables-legacy -X CNI-ADMIN");
  CHECK(legacy_rules() == before);
  CHECK(ruleset() == "");
}

TEST_CASE("iptables: a network that stands in nftables stays there, and a legacy FORWARD that drops is opened") {
  const Host host;
  if (const std::string missing = missing_legacy(); !missing.empty()) SLICER_SKIP(missing);
  const Surroundings around;
  Chain chain = plain_chain();
  const Vm vm(chain, 1);
  must_reach_the_internet(vm);
  make_legacy_docker();
  CHECK_FALSE(reaches(vm.netns(), {Protocol::kIcmp, Surroundings::kInternet, 0}));
  Call check = vm.call;
  check.command = "CHECK";
  CHECK(call_firewall(chain, vm.result, check).msg().find("in table 'filter' of iptables is gone") !=
        std::string::npos);
  chain.firewall["drop"] = {"198.51.100.0/24"};
  reload(chain, vm);
  must_reach_the_internet(vm);
  CHECK(call_firewall(chain, vm.result, check).ok());
  CHECK(ruleset().find("egress-demo") != std::string::npos);
  CHECK(must("iptables-legacy -t mangle -S").find("slicer-") == std::string::npos);
}

TEST_CASE("iptables: auto leaves a network where its rules are, whatever other programs do later") {
  const Host host;
  if (const std::string missing = missing_legacy(); !missing.empty()) SLICER_SKIP(missing);
  (void)must("iptables-legacy -P FORWARD DROP");
  must_drive("ensure net1 masquerade=192.0.2.0/24");
  CHECK(ruleset() == "");
  (void)must("iptables-legacy -P FORWARD ACCEPT");  // nobody else is there any more
  must_drive("ensure net1 masquerade=192.0.2.0/24 masquerade=198.51.100.0/24");
  CHECK(ruleset() == "");
  must_drive("ensure net2 masquerade=203.0.113.0/24");
  CHECK(ruleset().find("masquerade-net2") != std::string::npos);
  (void)must("iptables-legacy -P FORWARD DROP");
  must_drive("check net1 masquerade=198.51.100.0/24");
  must_drive("check net2 masquerade=203.0.113.0/24");
  must_drive("remove net1");
  must_drive("remove net2");
  CHECK(ruleset() == "");
  CHECK(without_ours(legacy_rules()) == legacy_rules());
}

TEST_CASE("iptables: old and new iptables side by side, and both drop: a network is opened in both") {
  const Host host;
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  make_legacy_docker();
  (void)must("iptables-nft -P FORWARD DROP");
  const Surroundings around;
  const Vm vm(plain_chain(), 1);
  CHECK(soon_reaches(vm.netns(), {Protocol::kIcmp, Surroundings::kInternet, 0}));
  CHECK(legacy_rules().find("slicer-msq-") != std::string::npos);
  CHECK(must("iptables-nft -S FORWARD").find("--comment \"slicer:demo\" -j ACCEPT") != std::string::npos);
  must_drive("remove demo");
  CHECK(must("iptables-nft -S FORWARD") == "-P FORWARD DROP\n");
}

TEST_CASE("iptables: without libiptc auto does what it can, and iptables says what is missing") {
  const Host host;
  if (const std::string missing = missing_legacy(); !missing.empty()) SLICER_SKIP(missing);
  (void)must("iptables-legacy -P FORWARD DROP");
  const Outcome hidden = run({"sh", "-c",
                              "for l in $(/sbin/ldconfig -p | sed -n 's/.*libip[46]tc.so.* => //p'); do "
                              "mount --bind /dev/null $(readlink -f $l) || exit 1; done"});
  INFO(hidden.err);
  REQUIRE(hidden.ok());
  const Outcome refused = drive_legacy(kEnsure);
  CHECK(refused.exit_code == 1);
  CHECK(refused.err.find("load 'libip") != std::string::npos);
  const Outcome automatic = drive(kEnsure);
  INFO(automatic.err);
  CHECK(automatic.ok());
  CHECK(automatic.err.find(", ignoring the legacy tables\n") != std::string::npos);
  must_drive(kCheck);
  must_drive("remove net1");
  CHECK(ruleset() == "");
}

TEST_CASE("iptables: an ADD that fails after its rules takes the VM's lists back") {
  const Host host;
  if (const std::string missing = missing_legacy(); !missing.empty()) SLICER_SKIP(missing);
  Chain chain = plain_chain();
  chain.firewall["backend"] = "iptables";
  const Call how{.netns = Host::netns(), .ifname = "vmtap1"};
  const Answer bridged = call_plugin("slicer-bridge", chain.bridge, how);
  REQUIRE(bridged.ok());
  chain.firewall["runtimeConfig"]["policy"] = {{"drop", {"192.0.2.0/24"}}};  // segregates the bridge
  (void)must("mount --bind /proc/sys /proc/sys");
  (void)must("mount -o remount,ro,bind /proc/sys");
  const Answer failed = call_firewall(chain, bridged.json, how);
  (void)must("umount /proc/sys");
  INFO(failed.text());
  CHECK(failed.code() == 100);
  CHECK(legacy_rules().find("slicer-fwd-") != std::string::npos);  // the network's
  CHECK(legacy_rules().find("slicer-pol-") == std::string::npos);
}

TEST_CASE("iptables: slicer-bridge killed at any system call, then DEL: nothing of the VM is left") {
  const Host host;
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  Chain chain = plain_chain();
  chain.bridge["ipMasqBackend"] = "iptables";
  chain.bridge["ipam"]["ranges"] = {
      {{{"subnet", "192.0.2.0/24"}, {"rangeStart", "192.0.2.9"}, {"rangeEnd", "192.0.2.9"}}}};
  const Call how{.netns = Host::netns(), .ifname = "vmtap1"};
  const auto clear = [&] {
    Call del = how;
    del.command = "DEL";
    CHECK(call_plugin("slicer-bridge", chain.bridge, del).ok());
    (void)run({"ip", "link", "del", "slicer0"});
    must_drive("remove demo");
  };
  REQUIRE(call_plugin("slicer-bridge", chain.bridge, how).ok());  // forwarding is on from here
  clear();
  const std::string before = snapshot();
  const long rounds = kill_at_every_syscall(
      {.plugin = "slicer-bridge", .conf = chain.bridge, .call = how, .step = 5}, [] {},
      [&](const KillOutcome& outcome) {
        INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
        clear();
        CHECK(difference(before, snapshot()) == "");
      });
  CHECK(rounds > 10);
}
