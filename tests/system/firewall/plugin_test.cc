// slicer-firewall from outside: chained behind a bridge, a routed interface, and what it refuses.
#include <doctest/doctest.h>

#include <cstdio>
#include <fstream>
#include <iterator>

#include "tests/system/firewall/firewall_support.h"
#include "tests/system/fixture/kill_at_syscall.h"

using namespace slicer::test;
using namespace slicer::test::firewall;

namespace {

constexpr const char* kPlugin = "slicer-firewall";

/// Behind a bridge plugin; 1.1.0.
Json bridge_conf() {
  return Json::parse(R"({"cniVersion": "1.1.0", "name": "net1", "type": "slicer-firewall", "prevResult": {
    "cniVersion": "1.1.0",
    "interfaces": [{"name": "br0", "mac": "02:00:5e:00:53:01", "mtu": 1500}, {"name": "port0"},
                   {"name": "tap0", "sandbox": "/run/netns/vm"}, {"name": "tap0", "sandbox": "vm-1"}],
    "ips": [{"interface": 3, "address": "192.0.2.2/24", "gateway": "192.0.2.1"},
            {"interface": 3, "address": "2001:db8::2/64", "gateway": "2001:db8::1"}],
    "routes": [{"dst": "0.0.0.0/0"}], "dns": {"nameservers": ["192.0.2.53"]}}})");
}

/// Behind upstream's ptp.
Json ptp_conf() {
  return Json::parse(R"({"cniVersion": "1.0.0", "name": "net1", "type": "slicer-firewall", "prevResult": {
    "cniVersion": "1.0.0",
    "interfaces": [{"name": "port0", "mac": "02:00:5e:00:53:02"}, {"name": "eth0", "sandbox": "/run/netns/vm"}],
    "ips": [{"interface": 1, "address": "192.0.2.2/24", "gateway": "192.0.2.1"}]}})");
}

/// Behind upstream's macvlan.
Json macvlan_conf() {
  Json conf = ptp_conf();
  conf["prevResult"]["interfaces"].erase(0);
  conf["prevResult"]["ips"][0]["interface"] = 0;
  return conf;
}

/// The host that those results describe.
class Links {
 public:
  Links() {
    (void)must("ip link add br0 type bridge");
    connect({.netns = vm.path(), .link = "eth0"}, {.link = "port0"});
  }
  Netns vm{"vm"};
};

Call call_of(const std::string& command) { return {.command = command, .netns = "/run/netns/vm", .ifname = "eth0"}; }

Answer call(const Json& conf, const std::string& command) { return call_plugin(kPlugin, conf, call_of(command)); }

void must_work(const Answer& answer) {
  INFO(answer.text());
  REQUIRE(answer.ok());
}

Json without_prev_result(Json conf) {
  conf.erase("prevResult");
  return conf;
}

}  // namespace

TEST_CASE("firewall: ADD hands prevResult on as it is, and makes the network's rules") {
  const Host host;
  const Links links;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  const Answer answer = call(bridge_conf(), "ADD");
  must_work(answer);
  CHECK(answer.json == bridge_conf()["prevResult"]);
  const std::string once = ruleset();
  CHECK(once.find("elements = { \"br0\" comment \"slicer:net1\" }") != std::string::npos);
  CHECK(once.find("oifname \"br0\" ip6 daddr 2001:db8::/64 accept") != std::string::npos);
  must_work(call(with(bridge_conf(), "/prevResult/ips/0/address", "192.0.2.77/24"), "ADD"));
  CHECK(ruleset() == once);  // nothing of a VM's own
}

TEST_CASE("firewall: every version that has prevResult is answered in its own shape") {
  const Host host;
  const Links links;
  for (const char* version : {"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}) {
    Json conf = ptp_conf();
    conf["cniVersion"] = version;
    conf["prevResult"]["cniVersion"] = version;
    if (version[0] == '0') conf["prevResult"]["ips"][0]["version"] = "4";
    INFO(version);
    const Answer answer = call(conf, "ADD");
    must_work(answer);
    CHECK(answer.json["cniVersion"] == version);
    CHECK(answer.json["ips"] == conf["prevResult"]["ips"]);
    CHECK(answer.json["interfaces"] == conf["prevResult"]["interfaces"]);
  }
}

TEST_CASE("firewall: a TAP in the host's own namespace is accepted") {
  const Host host;
  const Links links;
  Json conf = bridge_conf();
  conf["prevResult"]["interfaces"][2]["sandbox"] = Host::netns();
  const Call in_host{.command = "ADD", .netns = Host::netns(), .ifname = "vmtap0"};
  must_work(call_plugin(kPlugin, conf, in_host));
}

TEST_CASE("firewall: a routed network (ptp) is selected by its subnet") {
  const Host host;
  const Links links;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  (void)must("iptables-nft -P FORWARD DROP");
  must_work(call(ptp_conf(), "ADD"));
  CHECK(must("iptables-nft -S FORWARD") ==
        "-P FORWARD DROP\n"
        "-A FORWARD -d 192.0.2.0/24 -m comment --comment \"slicer:net1\" -j ACCEPT\n"
        "-A FORWARD -s 192.0.2.0/24 -m comment --comment \"slicer:net1\" -j ACCEPT\n");
  must_work(call(ptp_conf(), "CHECK"));
  const Answer single = call(with(ptp_conf(), "/prevResult/ips/0/address", "192.0.2.2/32"), "ADD");
  CHECK(single.code() == 7);
  CHECK(single.msg() == "select the network by subnet: address '192.0.2.2/32' of prevResult has none");
}

TEST_CASE("firewall: an interface that does not pass the host (macvlan) needs nothing") {
  const Host host;
  const Links links;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  const Json conf = macvlan_conf();
  const Answer answer = call(conf, "ADD");
  must_work(answer);
  CHECK(answer.json == conf["prevResult"]);
  CHECK(ruleset() == "");
}

TEST_CASE("firewall: a vhost-user socket of prevResult is no link of the host") {
  const Host host;
  const Links links;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  Json conf = macvlan_conf();
  conf["cniVersion"] = conf["prevResult"]["cniVersion"] = "1.1.0";
  conf["prevResult"]["interfaces"].push_back({{"name", "vhost0"}, {"socketPath", "/run/vhost0.sock"}});
  const Answer answer = call(conf, "ADD");
  must_work(answer);
  CHECK(answer.json == conf["prevResult"]);
  CHECK(ruleset() == "");
}

TEST_CASE("firewall: the loopback is no way through the host, and addresses of the host are not the VM's") {
  const Host host;
  const Links links;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  Json behind_lo = ptp_conf();
  behind_lo["prevResult"]["interfaces"][0]["name"] = "lo";
  must_work(call(behind_lo, "ADD"));
  CHECK(ruleset() == "");
  Json with_gateway = bridge_conf();
  with_gateway["prevResult"]["ips"].push_back({{"interface", 0}, {"address", "203.0.113.1/24"}});
  must_work(call(with_gateway, "ADD"));
  CHECK(ruleset().find("203.0.113.") == std::string::npos);
  CHECK(ruleset().find("192.0.2.0/24") != std::string::npos);
}

TEST_CASE("firewall: a bridge without addresses is opened for both families") {
  const Host host;
  const Links links;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  (void)must("iptables-nft -P FORWARD DROP");
  (void)must("ip6tables-nft -P FORWARD DROP");
  Json conf = bridge_conf();
  conf["prevResult"].erase("ips");
  must_work(call(conf, "ADD"));
  for (const char* iptables : {"iptables-nft -S FORWARD", "ip6tables-nft -S FORWARD"})
    CHECK(must(iptables).find("-A FORWARD -i br0 ") != std::string::npos);
}

TEST_CASE("firewall: what it cannot do is an error that says so, and nothing is made") {
  const Host host;
  const Links links;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  struct Bad {
    Json conf;
    int code;
    const char* msg;
  };
  Json gone = bridge_conf();
  gone["prevResult"]["interfaces"] = Json::parse(R"([{"name": "br9"}])");
  gone["prevResult"]["ips"] = Json::array();
  Json host_only = ptp_conf();
  host_only["prevResult"]["interfaces"] = Json::parse(R"([{"name": "lo"}, {"name": "port0"}])");
  Json behind_lo = ptp_conf();
  behind_lo["prevResult"]["interfaces"][0]["name"] = "lo";
  for (
      const Bad& bad : {
          Bad{without_prev_result(bridge_conf()), 7, R"(read "prevResult": it is missing)"},
          Bad{with(bridge_conf(), "drop", Json::array({"0.0.0.0/0"})), 7,
              R"(enforce "drop" and "allow" on bridge 'br0': it has no address in 192.0.2.0/24)"},
          Bad{with(bridge_conf(), "allow", Json::array({"192.0.2.1/32", "192.0.2.1/24"})), 7,
              R"("allow": entry '192.0.2.1/24' has host bits set)"},
          Bad{with(bridge_conf(), "drop", Json::array({""})), 7, R"("drop": entry '' is empty)"},
          Bad{with(bridge_conf(), "drop", Json::array({"example.net"})), 7,
              R"("drop": entry 'example.net' is not an address, a prefix or a range of addresses)"},
          Bad{with(bridge_conf(), "drop", "192.0.2.1"), 7, R"("drop": expected a list of strings, got "192.0.2.1")"},
          Bad{with(bridge_conf(), "default", "reject"), 7, R"("default": "reject" is neither "drop" nor "allow")"},
          Bad{with(bridge_conf(), "runtimeConfig", Json::parse(R"({"policy": {"drop": ["a"]}})")), 7,
              R"("runtimeConfig.policy.drop": entry 'a' is not an address, a prefix or a range of addresses)"},
          Bad{with(bridge_conf(), "runtimeConfig", Json::parse(R"({"policy": []})")), 7,
              R"("runtimeConfig.policy": expected an object, got [])"},
          Bad{with(macvlan_conf(), "drop", Json::array({"0.0.0.0/0"})), 7,
              R"("drop" and "allow": the packets of this attachment do not pass the host (macvlan, ipvlan, a device of )"
              "its own)"},
          Bad{with(ptp_conf(), "ingressPolicy", "same-bridge"), 7, R"("ingressPolicy": the network has no bridge)"},
          Bad{with(bridge_conf(), "ingressPolicy", "shut"), 7,
              R"("ingressPolicy": "shut" is none of "open", "same-bridge", "isolated")"},
          Bad{with(bridge_conf(), "iptablesAdminChainName", "FORWARD"), 7,
              R"("iptablesAdminChainName": "FORWARD" cannot be a chain's name)"},
          Bad{with(bridge_conf(), "/prevResult/ips/0/address", "192.0.2.2/0"), 7,
              R"(read "prevResult": address '192.0.2.2/0' has the prefix length 0, which is no network's)"},
          Bad{with(ptp_conf(), "/prevResult/ips/0/address", "0.0.0.0/0"), 7,
              R"(read "prevResult": address '0.0.0.0/0' has the prefix length 0, which is no network's)"},
          Bad{host_only, 7, R"(read "prevResult": all of its interfaces are the host's ('lo'), none is the VM's)"},
          Bad{with(behind_lo, "drop", Json::array({"0.0.0.0/0"})), 7,
              R"("drop" and "allow": the packets of this attachment do not pass the host (macvlan, ipvlan, a device of )"
              "its own)"},
          Bad{with(bridge_conf(), "backend", "pf"), 7,
              R"("backend": "pf" is none of "auto", "nftables", "iptables", "firewalld")"},
          Bad{with(bridge_conf(), "backend", 7), 7, R"("backend": expected a string, got 7)"},
          Bad{gone, 101, "find interface 'br9' of prevResult on the host: no such link"},
      }) {
    const Answer answer = call(bad.conf, "ADD");
    INFO(answer.text());
    CHECK(answer.code() == bad.code);
    CHECK(answer.msg() == bad.msg);
    CHECK_FALSE(answer.json.value("details", "").empty());
  }
  CHECK(ruleset() == "");
}

TEST_CASE("firewall: keys of upstream's plugin and unknown ones are accepted") {
  const Host host;
  const Links links;
  Json conf = bridge_conf();
  conf["backend"] = "auto";
  conf["iptablesAdminChainName"] = "MY-ADMIN";
  conf["firewalldZone"] = "trusted";
  conf["ingressPolicy"] = "open";
  conf["drop"] = nullptr;
  conf["somethingElse"] = {{"a", 1}};
  must_work(call(conf, "ADD"));
}

TEST_CASE("firewall: CHECK notices a rule that is gone, and the next ADD puts it back") {
  const Host host;
  const Links links;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  (void)must("iptables-nft -P FORWARD DROP");
  must_work(call(bridge_conf(), "ADD"));
  must_work(call(bridge_conf(), "CHECK"));
  for (const char* damage : {"nft flush chain inet slicer forward-net1", "iptables-nft -F FORWARD"}) {
    INFO(damage);
    (void)must(damage);
    const Answer answer = call(bridge_conf(), "CHECK");
    CHECK(answer.code() == 105);
    CHECK(answer.msg().find("check the rules of network 'net1': rule 'iifname \"br0\" accept' is gone from chain") ==
          0);
    must_work(call(bridge_conf(), "ADD"));
    must_work(call(bridge_conf(), "CHECK"));
  }
}

TEST_CASE("firewall: DEL and GC change nothing and work in every state") {
  const Host host;
  const Links links;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  must_work(call(bridge_conf(), "DEL"));
  must_work(call(bridge_conf(), "ADD"));
  const std::string standing = ruleset();
  must_work(call(bridge_conf(), "DEL"));
  must_work(call(without_prev_result(bridge_conf()), "DEL"));
  must_work(call(with(bridge_conf(), "drop", Json::array({"0.0.0.0/0"})), "DEL"));  // of an older or newer conflist
  must_work(call_plugin(kPlugin, bridge_conf(), {.command = "DEL"}));
  must_work(call(with(without_prev_result(bridge_conf()), "/cni.dev~1valid-attachments", Json::array()), "GC"));
  CHECK(ruleset() == standing);
}

TEST_CASE("firewall: STATUS says whether rules can be made") {
  const Host host;
  const Json conf = without_prev_result(bridge_conf());
  must_work(call(conf, "STATUS"));
  CHECK(call(with(conf, "backend", "pf"), "STATUS").code() == 7);
  if (run({"setpriv", "--version"}).exit_code == 127) SLICER_SKIP("needs the program setpriv");
  const Outcome denied =
      run(words("setpriv --bounding-set=-net_admin --inh-caps=-net_admin " + bin_dir() + "/" + kPlugin),
          {.in = conf.dump(), .env = cni_environment(call_of("STATUS"))});
  INFO(denied.out);
  CHECK(Json::parse(denied.out)["code"] == 50);
}

TEST_CASE("firewall: 16 first ADDs at once make the rules of one") {
  const Host host;
  const Links links;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  must_work(call(bridge_conf(), "ADD"));
  const std::string one = ruleset();
  must_drive("remove net1");
  std::ofstream("/run/conf.json") << bridge_conf();
  const std::string loop = "for i in $(seq 16); do " + bin_dir() + "/" + kPlugin +
                           " </run/conf.json >/run/out.$i || cat /run/out.$i & done; wait";
  CHECK(run({"sh", "-c", loop}, {.env = cni_environment(call_of("ADD"))}).out == "");
  CHECK(ruleset() == one);
}

TEST_CASE(
    "firewall: ADD killed at any system call leaves all or nothing of the rules, and the next ADD completes them") {
  const Host host;
  const Links links;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  (void)must("iptables-nft -P FORWARD DROP");
  const std::string nothing = ruleset();
  must_work(call(bridge_conf(), "ADD"));
  const std::string all = ruleset();
  REQUIRE(all != nothing);
  const long rounds = kill_at_every_syscall(
      {.plugin = kPlugin, .conf = bridge_conf(), .call = call_of("ADD")}, [] { must_drive("remove net1"); },
      [&](const KillOutcome& outcome) {
        INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
        const std::string left = ruleset();
        CHECK((left == nothing || left == all));
        must_work(call(bridge_conf(), "ADD"));
        CHECK(ruleset() == all);
      });
  CHECK(rounds > 60);
}

TEST_CASE("firewall: an ADD of a network whose rules stand opens one netfilter socket and writes nothing") {
  const Host host;
  const Links links;
  if (run({"strace", "--version"}).exit_code == 127) SLICER_SKIP("needs the program strace");
  must_work(call(bridge_conf(), "ADD"));
  const Outcome traced =
      run(words("strace -f -o /run/trace -e trace=socket,sendto,sendmsg,execve " + bin_dir() + "/" + kPlugin),
          {.in = bridge_conf().dump(), .env = cni_environment(call_of("ADD"))});
  REQUIRE(traced.ok());
  std::ifstream file("/run/trace");
  const std::string trace((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto count = [&](const std::string& word) {
    int found = 0;
    for (size_t at = trace.find(word); at != std::string::npos; at = trace.find(word, at + 1)) ++found;
    return found;
  };
  INFO(trace);
  CHECK(count("NETLINK_NETFILTER)") == 1);
  CHECK(count("sendto(") == 1);  // the question
  CHECK(count("execve(") == 1);  // and no program
}
