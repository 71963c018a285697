// slicer-bridge with the TAP in the host's own namespace.
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/system/bridge/bridge_support.h"

using namespace slicer::test;
using namespace slicer::test::bridge;

TEST_CASE("bridge host: ADD makes a TAP on the bridge and says so by the contract") {
  const Host host;
  const Json result = add(demo_conf(), host_call("ADD"));
  INFO("result: ", result.dump(1));
  CHECK(result["cniVersion"] == "1.1.0");
  REQUIRE(result["interfaces"].size() == 3);
  CHECK(result["interfaces"][0]["name"] == "slicer0");
  const Json& tap = result["interfaces"][1];
  CHECK(tap["name"] == "vmtap0");
  CHECK(tap["sandbox"] == Host::netns());
  const Json& guest = result["interfaces"][2];
  CHECK(guest["name"] == "vmtap0");
  CHECK(guest["sandbox"] == "vm-1");
  CHECK(guest["mac"] != tap["mac"]);
  REQUIRE(result["ips"].size() == 1);
  CHECK(result["ips"][0]["interface"] == 2);
  CHECK(result["ips"][0]["gateway"] == "192.0.2.1");

  const std::string link = must("ip -d link show dev vmtap0");
  INFO("link: ", link);
  CHECK(link.find("master slicer0") != std::string::npos);
  CHECK(link.find("slicer:demo/vm-1/vmtap0") != std::string::npos);
  CHECK(link.find(tap["mac"].get<std::string>()) != std::string::npos);
  CHECK(link.find("persist on") != std::string::npos);
  CHECK(link.find("user root") != std::string::npos);
  CHECK(must("ip -6 addr show dev vmtap0").empty());  // the host does not speak on the guest's cable
  CHECK(must("ip -4 addr show dev slicer0").find("192.0.2.1/24") != std::string::npos);
  CHECK(Host::sysctl("net/ipv4/ip_forward") == "1");
  CHECK(Host::sysctl("net/ipv6/conf/all/forwarding") == "0");
}

TEST_CASE("bridge host: every spec version has its own result shape") {
  const Host host;
  for (const char* version : {"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}) {
    CAPTURE(version);
    const Json conf = with(dual_conf(), "cniVersion", version);
    const Json result = add(conf, host_call("ADD"));
    INFO("result: ", result.dump(1));
    CHECK(result["cniVersion"] == version);
    const bool old = std::string(version) < "0.3.0";
    CHECK(result.contains("ip4") == old);
    CHECK(result.contains("ip6") == old);
    CHECK(result.contains("interfaces") != old);
    if (!old) {
      const bool has_version = std::string(version) < "1.0.0";
      CHECK(result["ips"][0].contains("version") == has_version);
      CHECK(result["interfaces"][1].contains("mtu") == (std::string(version) == "1.1.0"));
    }
    // The runtime hands that shape back; GC and STATUS came with 1.1.0, CHECK with 0.4.0.
    const Answer checked = call(with(conf, "prevResult", result), host_call("CHECK"));
    INFO(checked.text());
    CHECK(checked.code() == (std::string(version) < "0.4.0" ? 1 : 0));
    CHECK(call(conf, host_call("STATUS")).code() == (std::string(version) < "1.1.0" ? 1 : 0));
    const Answer deleted = call(with(conf, "prevResult", result), host_call("DEL"));
    INFO(deleted.text());
    CHECK(deleted.ok());
  }
}

TEST_CASE("bridge host: a prevResult of another version is read in its own shape, or refused by name") {
  const Host host;
  const Json old_result = add(with(demo_conf(), "cniVersion", "0.4.0"), host_call("ADD"));
  const Answer checked = call(with(demo_conf(), "prevResult", old_result), host_call("CHECK"));
  INFO(checked.text());
  CHECK(checked.ok());
  const Json strange = with(old_result, "cniVersion", "9.9.9");
  const Answer refused = call(with(demo_conf(), "prevResult", strange), host_call("CHECK"));
  INFO(refused.text());
  CHECK(refused.code() == 1);
  CHECK(refused.msg().find("prevResult") != std::string::npos);
  CHECK(call(with(demo_conf(), "prevResult", strange), host_call("DEL")).ok());
  CHECK_FALSE(run(words("ip link show dev vmtap0")).ok());
}

TEST_CASE("bridge host: the guest reaches host, gateway, other guests and the internet, and is reached from the LAN") {
  const Host host;
  const Surroundings around;
  around.route_to_vms("192.0.2.0/24");
  around.route_to_vms("2001:db8:1::/64");
  const Json first = add(dual_conf(), host_call("ADD", "vm-1", "vmtap0"));
  const Json second = add(dual_conf(), host_call("ADD", "vm-2", "vmtap1"));
  const Guest one(Guest::from_result(first, host_call("ADD", "vm-1", "vmtap0"), "guest-1"));
  const Guest two(Guest::from_result(second, host_call("ADD", "vm-2", "vmtap1"), "guest-2"));
  for (const char* through_netfilter : {"0", "1"}) {
    CAPTURE(through_netfilter);
    Host::sysctl("net/bridge/bridge-nf-call-iptables", through_netfilter);
    Host::sysctl("net/bridge/bridge-nf-call-ip6tables", through_netfilter);
    CHECK(pings(Host::netns(), ip_of(first, 4)));
    CHECK(pings(one.netns(), "192.0.2.1"));
    CHECK(pings(one.netns(), ip_of(second, 4)));
    CHECK(pings(two.netns(), ip_of(first, 4)));
    CHECK(pings(one.netns(), Surroundings::kInternet));
    CHECK(pings(around.machine.path(), ip_of(first, 4)));
    CHECK(pings(Host::netns(), ip_of(first, 6)));
    CHECK(pings(one.netns(), ip_of(second, 6)));
    CHECK(pings(one.netns(), Surroundings::kInternet6));
    CHECK(pings(around.machine.path(), ip_of(first, 6)));
  }
}

TEST_CASE("bridge host: the very first packet gets through") {
  const Host host;
  const Json result = add(demo_conf(), host_call("ADD"));
  const RawGuest guest({.tap = "vmtap0"});
  // The host speaks first, to a guest that has never sent anything: no ARP request, the echo itself arrives.
  const Background ping({"ping", "-c", "1", "-W", "1", ip_of(result, 4)}, Host::netns());
  const auto frame = guest.receive(is_arp_or_echo, std::chrono::seconds(5));
  REQUIRE(frame.has_value());
  CHECK((*frame)[13] == 0);  // 0x0800: the echo, no ARP request before it
}

TEST_CASE("bridge host: DEL leaves nothing of the attachment, and runs twice and with less") {
  const Host host;
  const Json conf = dual_conf();
  const std::string before = settled_snapshot(conf, host_call("ADD"));
  for (const char* way : {"plain", "twice", "without CNI_NETNS", "with a namespace that is gone", "with prevResult"}) {
    CAPTURE(way);
    const Json result = add(conf, host_call("ADD"));
    Call del = host_call("DEL");
    if (std::string(way) == "without CNI_NETNS") del.netns = "";
    if (std::string(way) == "with a namespace that is gone") del.netns = "/run/netns/gone";
    const Json given = std::string(way) == "with prevResult" ? with(conf, "prevResult", result) : conf;
    const Answer answer = call(given, del);
    INFO(answer.text());
    CHECK(answer.ok());
    CHECK(answer.out.empty());
    if (std::string(way) == "twice") CHECK(call(given, del).ok());
    CHECK(difference(before, snapshot()) == "");
  }
}

TEST_CASE("bridge host: CHECK sees every object that is missing or changed") {
  const Host host;
  const Json conf = demo_conf();
  const auto check = [&](const Json& result) { return call(with(conf, "prevResult", result), host_call("CHECK")); };
  struct Damage {
    const char* what;
    std::string command;
    std::string netns = {};
  };
  const Json sample = add(conf, host_call("ADD"));
  const std::string ip = ip_of(sample, 4);
  const std::string mac = guest_entry(sample, "vm-1")["mac"];
  (void)call(conf, host_call("DEL"));
  const Damage damages[] = {{"tap", "ip link del vmtap0"},
                            {"master", "ip link set vmtap0 nomaster"},
                            {"down", "ip link set vmtap0 down"},
                            {"alias", "ip link set vmtap0 alias other"},
                            {"locked", "bridge link set dev vmtap0 locked off"},
                            {"fdb", "bridge fdb del " + mac + " dev vmtap0 master"},
                            {"neighbour", "ip neigh del " + ip + " dev slicer0"},
                            {"guard", "tc qdisc del dev vmtap0 clsact"},
                            {"gateway", "ip addr del 192.0.2.1/24 dev slicer0"},
                            {"bridge down", "ip link set slicer0 down"},
                            {"masquerade", "nft delete table inet slicer"},
                            {"forwarding", "sysctl -qw net.ipv4.ip_forward=0"},
                            {"reservation", "rm /var/lib/cni/networks/demo/" + ip}};
  for (const Damage& damage : damages) {
    CAPTURE(damage.what);
    Json asked = conf;
    asked["runtimeConfig"]["ips"] = {ip};
    const Json result = add(asked, host_call("ADD"));
    const Answer whole = check(result);
    INFO(whole.text());
    REQUIRE(whole.ok());
    (void)must(damage.command, Host::netns());
    const Answer broken = check(result);
    INFO(broken.text());
    CHECK_FALSE(broken.ok());
    CHECK_FALSE(broken.msg().empty());
    // One whose alias is another's is not ours to delete.
    (void)run(words("ip link set vmtap0 alias slicer:demo/vm-1/vmtap0"));
    (void)run(words("ip link set slicer0 up"));
    REQUIRE(call(conf, host_call("DEL")).ok());
  }
}

TEST_CASE("bridge host: CHECK without prevResult, or with another attachment's, is an error") {
  const Host host;
  const Json conf = demo_conf();
  const Json result = add(conf, host_call("ADD"));
  CHECK(call(conf, host_call("CHECK")).code() == 7);
  CHECK_FALSE(call(with(conf, "prevResult", result), host_call("CHECK", "vm-2", "vmtap1")).ok());
}

TEST_CASE("bridge host: GC removes what the list lacks, of its own network only") {
  const Host host;
  const Json conf = demo_conf();
  const Json other = with(with(with(conf, "name", "other"), "bridge", "slicer1"), "/ipam/subnet", "198.51.100.0/24");
  (void)add(conf, host_call("ADD", "keep", "vmtap0"));
  (void)add(other, host_call("ADD", "stranger", "vmtap2"));
  const std::string before = snapshot();
  (void)add(conf, host_call("ADD", "stale", "vmtap1"));
  const std::string with_stale = snapshot();

  const Answer no_list = call(conf, host_call("GC"));
  INFO(no_list.text());
  CHECK(no_list.ok());
  CHECK(difference(with_stale, snapshot()) == "");

  const Json valid = {{{"containerID", "keep"}, {"ifname", "vmtap0"}}};
  const Answer collected = call(with(conf, "/cni.dev~1valid-attachments", valid), host_call("GC"));
  INFO(collected.text());
  CHECK(collected.ok());
  CHECK(difference(before, snapshot()) == "");
}

TEST_CASE("bridge host: STATUS says whether an ADD could work") {
  const Host host;
  CHECK(call(demo_conf(), host_call("STATUS")).ok());
  (void)must("ip link add slicer0 type veth peer name other");
  const Answer taken = call(demo_conf(), host_call("STATUS"));
  INFO(taken.text());
  CHECK(taken.code() == 50);
  CHECK(taken.msg().find("slicer0") != std::string::npos);
}

TEST_CASE("bridge host: names, MAC and owner are what the call asks for") {
  const Host host;
  Json conf = demo_conf();
  conf["runtimeConfig"]["mac"] = "02:00:5e:00:53:77";
  Call how = host_call("ADD");
  how.args = "IgnoreUnknown=1;TC_REDIRECT_TAP_UID=1234;TC_REDIRECT_TAP_GID=2345";
  const Json result = add(conf, how);
  CHECK(guest_entry(result, "vm-1")["mac"] == "02:00:5e:00:53:77");
  const std::string link = must("ip -d link show dev vmtap0");
  INFO(link);
  CHECK(link.find("user 1234") != std::string::npos);
  CHECK(link.find("group 2345") != std::string::npos);
  // A second guest with this MAC would take the first one's frames.
  const Answer twice = call(conf, host_call("ADD", "vm-2", "vmtap1"));
  INFO(twice.text());
  CHECK_FALSE(twice.ok());
  CHECK(twice.msg().find("02:00:5e:00:53:77") != std::string::npos);
}

TEST_CASE("bridge host: two networks on one bridge never give one address to two guests, in either placement") {
  for (const bool in_host : {true, false}) {
    CAPTURE(in_host);
    const Host host;
    const Netns first_ns("first");
    const Netns second_ns("second");
    const Json conf = dual_conf();
    Json other = dual_conf();
    other["name"] = "other";
    const Call first = in_host ? host_call("ADD") : private_call("ADD", first_ns);
    const Call second = in_host ? host_call("ADD", "vm-2", "vmtap1") : private_call("ADD", second_ns, "vm-2");
    const auto as = [](Call how, const char* command) { return how.command = command, how; };
    const Json result = add(conf, first);
    const std::string neighbours = must("ip neigh show dev slicer0 nud permanent");
    const Answer refused = call(other, second);
    INFO(refused.text());
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.msg().find("to bridge 'slicer0': address '" + ip_of(result, 4) + "' is another guest's") !=
          std::string::npos);
    // The first guest keeps what it has.
    CHECK(must("ip neigh show dev slicer0 nud permanent") == neighbours);
    Json check = conf;
    check["prevResult"] = result;
    CHECK(call(check, as(first, "CHECK")).ok());
    // And where it is gone the address is free. The pool of the other network goes on behind what was refused.
    if (in_host) (void)must("ip link del vmtap0");  // as a DEL killed after its first step
    if (!in_host) CHECK(call(conf, as(first, "DEL")).ok());
    Call again = second;
    again.args = "IP=" + ip_of(result, 4);
    CHECK(ip_of(add(other, again), 4) == ip_of(result, 4));
  }
}

TEST_CASE("bridge host: the same VM gets the same MAC again, and the bridge keeps its own") {
  const Host host;
  const Json first = add(demo_conf(), host_call("ADD"));
  (void)call(demo_conf(), host_call("DEL"));
  const Json again = add(demo_conf(), host_call("ADD"));
  CHECK(guest_entry(first, "vm-1") == guest_entry(again, "vm-1"));
  CHECK(first["interfaces"][0]["mac"] == again["interfaces"][0]["mac"]);
  const std::string mac = again["interfaces"][0]["mac"];
  for (int i = 1; i < 5; ++i)
    (void)add(demo_conf(), host_call("ADD", "more-" + std::to_string(i), "vmtap" + std::to_string(i)));
  CHECK(must("ip link show dev slicer0").find(mac) != std::string::npos);
}

TEST_CASE("bridge host: keys of the port and of the bridge do what they say") {
  const Host host;
  Json conf = with(with(with(demo_conf(), "mtu", 1400), "hairpinMode", true), "portIsolation", true);
  const Json result = add(conf, host_call("ADD"));
  CHECK(guest_entry(result, "vm-1")["mtu"] == 1400);
  CHECK(must("ip link show dev vmtap0").find("mtu 1400") != std::string::npos);
  const std::string port = must("bridge -d link show dev vmtap0");
  INFO(port);
  CHECK(port.find("hairpin on") != std::string::npos);
  CHECK(port.find("isolated on") != std::string::npos);
  CHECK(port.find("locked on") != std::string::npos);
  conf = with(with(demo_conf(), "promiscMode", true), "macspoofchk", false);
  (void)add(conf, host_call("ADD", "vm-2", "vmtap1"));
  CHECK(must("ip link show dev slicer0").find("PROMISC") != std::string::npos);
  CHECK(must("bridge -d link show dev vmtap1").find("locked off") != std::string::npos);
  CHECK(must("tc qdisc show dev vmtap1").find("clsact") == std::string::npos);
}

TEST_CASE("bridge host: isolated ports do not reach each other, but the host") {
  const Host host;
  const Json conf = with(demo_conf(), "portIsolation", true);
  const Json first = add(conf, host_call("ADD", "vm-1", "vmtap0"));
  const Json second = add(conf, host_call("ADD", "vm-2", "vmtap1"));
  const Guest one(Guest::from_result(first, host_call("ADD", "vm-1", "vmtap0"), "guest-1"));
  const Guest two(Guest::from_result(second, host_call("ADD", "vm-2", "vmtap1"), "guest-2"));
  CHECK(pings(one.netns(), "192.0.2.1"));
  CHECK_FALSE(pings(one.netns(), ip_of(second, 4), 1));
}

TEST_CASE("bridge host: isDefaultGateway, forceAddress and a bridge that others made") {
  const Host host;
  (void)must("ip link add slicer0 type bridge");
  (void)must("ip link set slicer0 address 02:00:5e:00:53:99 mtu 1450");
  (void)must("ip addr add 203.0.113.1/24 dev slicer0");
  Json conf = demo_conf();
  const Answer other = call(conf, host_call("ADD"));
  INFO(other.text());
  CHECK_FALSE(other.ok());
  CHECK(other.msg().find("203.0.113.1/24") != std::string::npos);
  CHECK(other.json.value("details", "").find("forceAddress") != std::string::npos);
  conf["forceAddress"] = true;
  conf["isDefaultGateway"] = true;
  conf["ipam"].erase("routes");
  const Json result = add(conf, host_call("ADD"));
  CHECK(result["interfaces"][0]["mac"] == "02:00:5e:00:53:99");
  CHECK(guest_entry(result, "vm-1")["mtu"] == 1450);
  REQUIRE(result["routes"].size() == 1);
  CHECK(result["routes"][0]["gw"] == "192.0.2.1");
  const std::string addresses = must("ip -4 addr show dev slicer0");
  CHECK(addresses.find("192.0.2.1/24") != std::string::npos);
  CHECK(addresses.find("203.0.113.1") == std::string::npos);
  CHECK(must("ip link show dev slicer0").find("alias") == std::string::npos);
}

TEST_CASE("bridge host: an ADD after the first asks netfilter once and writes nothing there") {
  const Host host;
  if (!run({"strace", "-V"}).ok()) SLICER_SKIP("needs the program strace");
  (void)add(demo_conf(), host_call("ADD", "vm-1", "vmtap0"));
  const std::string rules = must("nft list ruleset");
  const Outcome traced =
      run({"strace", "-f", "-o", "/run/trace", "-e", "trace=socket,sendto,sendmsg", bin_dir() + "/slicer-bridge"},
          {.in = demo_conf().dump(), .env = cni_environment(host_call("ADD", "vm-2", "vmtap1"))});
  INFO(traced.out, traced.err);
  REQUIRE(traced.ok());
  const std::string trace = must("cat /run/trace");
  INFO(trace);
  const auto count = [&](const char* text) {
    int found = 0;
    for (size_t at = trace.find(text); at != std::string::npos; at = trace.find(text, at + 1)) ++found;
    return found;
  };
  CHECK(count("NETLINK_NETFILTER") == 1);
  CHECK(count("NETLINK_ROUTE") == 1);
  CHECK(must("nft list ruleset") == rules);
}

TEST_CASE("bridge host: layer 2 only, without ipam") {
  const Host host;
  Json conf = demo_conf();
  for (const char* key : {"ipam", "isGateway", "ipMasq"}) conf.erase(key);
  const Json first = add(conf, host_call("ADD", "vm-1", "vmtap0"));
  CHECK((!first.contains("ips") || first["ips"].empty()));
  (void)add(conf, host_call("ADD", "vm-2", "vmtap1"));
  const Guest one({.name = "guest-1",
                   .place = {.tap = "vmtap0"},
                   .mac = guest_entry(first, "vm-1")["mac"],
                   .addresses = {"192.0.2.2/24"}});
  const Json second = call(with(conf, "prevResult", first), host_call("CHECK")).json;
  CHECK(second.is_null());
  const Guest two({.name = "guest-2",
                   .place = {.tap = "vmtap1"},
                   .mac = guest_entry(add(conf, host_call("ADD", "vm-3", "vmtap2")), "vm-3")["mac"],
                   .addresses = {"192.0.2.3/24"}});
  // vm-2's TAP with vm-3's MAC: the port is locked to its own guest.
  CHECK_FALSE(pings(one.netns(), "192.0.2.3", 1));
  CHECK(Host::sysctl("net/ipv4/ip_forward") == "0");
}
