// What an ADD of slicer-isolated makes, and what DEL, CHECK, GC and STATUS do with it.
#include <doctest/doctest.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>

#include "tests/system/isolated/isolated_support.h"

using namespace slicer::test;
using namespace slicer::test::isolated;

namespace {

/// For this process and its children the kernel has no nf_tables: no socket of its kind.
void forbid_nfnetlink() {
  const auto third = static_cast<unsigned>(offsetof(seccomp_data, args[2]));
  std::array<sock_filter, 8> code = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 5),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, third),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NETLINK_NETFILTER, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPROTONOSUPPORT),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    _exit(99);
}

}  // namespace

TEST_CASE("isolated: ADD makes a routed TAP and says so by the contract") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Netns box("box");
  const Json result = add(sandbox_conf(), call_in("ADD", box));
  INFO("result: ", result.dump(1));
  REQUIRE(result["interfaces"].size() == 3);
  const std::string end = result["interfaces"][0]["name"];
  CHECK(end.starts_with("sls"));
  CHECK((!result["interfaces"][0].contains("sandbox") || result["interfaces"][0]["sandbox"] == ""));
  CHECK(result["interfaces"][1]["name"] == "tap0");
  CHECK(result["interfaces"][1]["sandbox"] == box.path());
  CHECK(result["interfaces"][2]["name"] == "tap0");
  CHECK(result["interfaces"][2]["sandbox"] == "vm-1");
  CHECK(result["ips"] ==
        Json::parse(R"([{"address": "169.254.100.2/30", "gateway": "169.254.100.1", "interface": 2}])"));
  CHECK(result["routes"] == Json::parse(R"([{"dst": "0.0.0.0/0", "gw": "169.254.100.1"}])"));

  CHECK(must("ip -o link show dev " + end).find("slicer:sandbox/vm-1/tap0") != std::string::npos);
  CHECK(must("ip -o addr show dev " + end).empty());
  CHECK(must("ip route show 169.254.100.2").find("dev " + end) != std::string::npos);
  CHECK(must("ip neigh show dev " + end).find("169.254.100.2 lladdr") != std::string::npos);
  CHECK(must("ip -4 -o addr show dev tap0", box.path()).find("169.254.100.1/30") != std::string::npos);
  CHECK(must("ip route show default", box.path()).find("via 169.254.1.1") != std::string::npos);
  CHECK(must("ip -6 -o addr show scope link", box.path()).empty());
  CHECK(must("ip -d link show dev tap0", box.path()).find("persist on") != std::string::npos);
  const Answer checked = call(with(sandbox_conf(), "prevResult", result), call_in("CHECK", box));
  INFO(checked.text());
  CHECK(checked.ok());
}

TEST_CASE("isolated: the host's own namespace is refused, and nothing lets it pass") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  Call how{.command = "ADD", .netns = Host::netns(), .ifname = "tap0"};
  for (const char* override_value : {"", "1"}) {
    how.extra = {{"CNI_NETNS_OVERRIDE", override_value}};
    const Answer answer = call(sandbox_conf(), how);
    INFO(answer.text());
    CHECK(answer.code() == 8);
    CHECK(answer.msg().find("host's own network namespace") != std::string::npos);
  }
  how.command = "DEL";
  CHECK(call(sandbox_conf(), how).ok());
}

TEST_CASE("isolated: a wrong configuration is code 7 before anything is made") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Netns box("box");
  const std::string before = snapshot({.netns = {box.path()}});
  for (const Json& conf : {with(sandbox_conf(), "range", "169.254.100.1/22"), with(sandbox_conf(), "mtu", "big"),
                           with(sandbox_conf(), "ipam", Json{{"type", "slicer-ipam"}, {"block", 29}})}) {
    const Answer answer = call(conf, call_in("ADD", box));
    INFO(answer.text());
    CHECK(answer.code() == 7);
  }
  CHECK(difference(before, snapshot({.netns = {box.path()}})) == "");
}

TEST_CASE("isolated: DEL leaves nothing, in every way it can be called") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Json conf = sandbox_conf();
  const Netns settled("settled");
  const SnapshotOptions seen{.netns = {settled.path()}};
  const std::string before = settled_snapshot(conf, call_in("ADD", settled), seen);
  SUBCASE("plain, and twice") {
    (void)add(conf, call_in("ADD", settled));
    del(conf, call_in("DEL", settled));
    CHECK(difference(before, snapshot(seen)) == "");
    del(conf, call_in("DEL", settled));
  }
  SUBCASE("with a configuration that went bad") {
    (void)add(conf, call_in("ADD", settled));
    del(with(conf, "range", 7), call_in("DEL", settled));
    CHECK(difference(before, snapshot(seen)) == "");
  }
  SUBCASE("without the namespace's name") {
    (void)add(conf, call_in("ADD", settled));
    Call how = call_in("DEL", settled);
    how.netns = "";
    del(conf, how);
    CHECK(difference(before, snapshot(seen)) == "");
  }
  SUBCASE("namespace deleted first") {
    Netns gone("gone");
    (void)add(conf, call_in("ADD", gone));
    gone.remove();
    del(conf, call_in("DEL", gone));
    CHECK(eventually([&] { return difference(before, snapshot(seen)).empty(); }));
    CHECK(difference(before, snapshot(seen)) == "");
  }
}

TEST_CASE("isolated: a failed ADD leaves nothing") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Netns box("box");
  const Json conf = sandbox_conf();
  const SnapshotOptions seen{.netns = {box.path()}};
  (void)settled_snapshot(conf, call_in("ADD", box));
  SUBCASE("the namespace has a default route") {
    (void)must("ip link add up0 type bridge", box.path());
    (void)must("ip link set up0 up", box.path());
    (void)must("ip route add default dev up0", box.path());
    const std::string before = snapshot(seen);
    const Answer answer = call(conf, call_in("ADD", box));
    CHECK_FALSE(answer.ok());
    CHECK(answer.msg().find("default route") != std::string::npos);
    CHECK(difference(before, snapshot(seen)) == "");
  }
  SUBCASE("the TAP's name is in use") {
    (void)must("ip link add tap0 type bridge", box.path());
    const std::string before = snapshot(seen);
    CHECK_FALSE(call(conf, call_in("ADD", box)).ok());
    del(conf, call_in("DEL", box));
    CHECK(difference(before, snapshot(seen)) == "");
  }
  SUBCASE("a second ADD of the same attachment does not cost the first one anything") {
    const Json result = add(conf, call_in("ADD", box));
    const std::string before = snapshot(seen);
    CHECK_FALSE(call(conf, call_in("ADD", box)).ok());
    CHECK(difference(before, snapshot(seen)) == "");
    CHECK(call(with(conf, "prevResult", result), call_in("CHECK", box)).ok());
  }
}

TEST_CASE("isolated: CHECK notices whatever is taken away") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Netns box("box");
  const Json conf = sandbox_conf();
  const Json result = add(conf, call_in("ADD", box));
  const Json checked = with(conf, "prevResult", result);
  const std::string end = result["interfaces"][0]["name"];
  const std::string uplink = "slu" + end.substr(3);
  struct Damage {
    std::string line = {};
    bool inside = false;
  };
  std::vector<Damage> damages{{"ip route del 169.254.100.2"},
                              {"ip neigh del 169.254.100.2 dev " + end},
                              {"sysctl -qw net.ipv4.ip_forward=0"},
                              {"ip addr flush dev tap0", true},
                              {"ip neigh flush dev tap0 nud permanent", true},
                              {"tc qdisc del dev tap0 clsact", true},
                              {"ip route del default", true},
                              {"ip link set " + uplink + " down", true},
                              {"sysctl -qw net.ipv4.conf.tap0.forwarding=0", true},
                              {"sysctl -qw net.ipv4.conf." + uplink + ".forwarding=0", true},
                              {"ip link del tap0", true}};
  if (is_legacy()) {
    for (const char* rule : {"iptables-legacy -t mangle -F slicer-iso-pre", "iptables-legacy -t mangle -F FORWARD",
                             "iptables-legacy -t mangle -I slicer-iso-inp -j ACCEPT",
                             "ip6tables-legacy -t mangle -F slicer-iso-shut", "iptables-legacy -t nat -F"})
      damages.push_back({rule});
    for (const char* rule : {"iptables-legacy -t mangle -F slicer-vm-fwd", "iptables-legacy -t mangle -F INPUT",
                             "ip6tables-legacy -t mangle -F slicer-vm-pre", "iptables-legacy -t mangle -F"})
      damages.push_back({rule, true});
  } else {
    for (const char* rule : {"nft flush chain inet slicer isolation-forward", "nft delete table inet slicer"})
      damages.push_back({rule});
    for (const char* rule : {"nft flush chain inet slicer-vm forward", "nft delete table inet slicer-vm"})
      damages.push_back({rule, true});
  }
  for (const Damage& damage : damages) {
    CAPTURE(damage.line);
    REQUIRE(call(checked, call_in("CHECK", box)).ok());
    (void)must(damage.line, damage.inside ? box.path() : "");
    const Answer answer = call(checked, call_in("CHECK", box));
    CHECK_FALSE(answer.ok());
    CHECK(answer.msg().find("check") != std::string::npos);
    CAPTURE(answer.text());
    del(conf, call_in("DEL", box));
    (void)must("sysctl -qw net.ipv4.ip_forward=1");
    // The same block again: an explicit request.
    Call again = call_in("ADD", box);
    again.args = "IP=169.254.100.2";
    (void)add(conf, again);
  }
}

TEST_CASE("isolated: GC removes what nobody knows, of its own network alone") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Netns one("one"), two("two"), other("other");
  const Json conf = sandbox_conf();
  const Json neighbour = sandbox_conf("neighbour");
  const Json first = add(conf, call_in("ADD", one, "vm-1"));
  const Json stranger = add(neighbour, call_in("ADD", other, "vm-1"));
  const std::string before = snapshot();
  (void)add(conf, call_in("ADD", two, "vm-2"));
  const auto gc = [&](const Json& valid) {
    const Answer answer = call(with(conf, "/cni.dev~1valid-attachments", valid), {.command = "GC"});
    INFO(answer.text());
    CHECK(answer.ok());
  };
  gc(Json::parse(R"([{"containerID": "vm-1", "ifname": "tap0"}])"));
  CHECK(difference(before, snapshot()) == "");
  CHECK(call(with(conf, "prevResult", first), call_in("CHECK", one, "vm-1")).ok());
  gc(Json::array());
  CHECK_FALSE(call(with(conf, "prevResult", first), call_in("CHECK", one, "vm-1")).ok());
  CHECK(call(with(neighbour, "prevResult", stranger), call_in("CHECK", other, "vm-1")).ok());
  const Answer status = call(conf, {.command = "STATUS"});
  INFO(status.text());
  CHECK(status.ok());
}

TEST_CASE("isolated: names as long as DNS allows") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Netns box("box");
  const std::string label(63, 'l');
  const Json conf = with(sandbox_conf(label + "." + label + "." + label), "range", nullptr);
  const std::string id = label + "." + label + "." + label + "-1";
  const std::string before = settled_snapshot(conf, call_in("ADD", box, id), {.netns = {box.path()}});
  const Json result = add(conf, call_in("ADD", box, id));
  CHECK(call(with(conf, "prevResult", result), call_in("CHECK", box, id)).ok());
  del(conf, call_in("DEL", box, id));
  CHECK(difference(before, snapshot({.netns = {box.path()}})) == "");
}

TEST_CASE("isolated: a result in every version of the protocol") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Netns box("box");
  for (const char* version : {"0.1.0", "0.2.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}) {
    CAPTURE(version);
    const Json conf = with(sandbox_conf(), "cniVersion", version);
    const Json result = add(conf, call_in("ADD", box));
    CHECK(result["cniVersion"] == version);
    del(conf, call_in("DEL", box));
  }
}

TEST_CASE("isolated: a namespace as `ip netns add` leaves it, without so much as 127.0.0.1") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  (void)must("ip netns add bare");
  const Call how{.command = "ADD", .netns = "/run/netns/bare", .ifname = "tap0"};
  const Json result = add(sandbox_conf(), how);
  const Guest guest(Guest::from_result(result, how, "guest-1"));
  CHECK(pings(guest.netns(), Surroundings::kInternet));
  CHECK(call(with(sandbox_conf(), "prevResult", result), {.command = "CHECK", .netns = how.netns, .ifname = "tap0"})
            .ok());
  del(sandbox_conf(), how);
}

TEST_CASE("isolated: a second VM in one namespace is refused, and the first one keeps its rules") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Netns box("box");
  const Json result = add(sandbox_conf(), call_in("ADD", box));
  Call second = call_in("ADD", box, "vm-2");
  second.ifname = "tap1";
  const SnapshotOptions seen{.netns = {box.path()}};
  const std::string before = snapshot(seen);
  const Answer answer = call(sandbox_conf(), second);
  INFO(answer.text());
  CHECK(answer.code() == 102);
  CHECK(answer.msg().find("default route") != std::string::npos);
  del(sandbox_conf(), second);
  CHECK(difference(before, snapshot(seen)) == "");
}

TEST_CASE("isolated: of two ADDs at once in one namespace one keeps its rules, whoever was where first") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Netns box("box");
  const Json result = add(sandbox_conf(), call_in("ADD", box));
  Call second = call_in("ADD", box, "vm-2");
  second.ifname = "tap1";
  // As the second one finds the namespace before the first one has its route.
  const std::string route = must("ip route show default", box.path());
  (void)must("ip route del default", box.path());
  const SnapshotOptions seen{.netns = {box.path()}};
  const std::string before = snapshot(seen);
  const Answer answer = call(sandbox_conf(), second);
  INFO(answer.text());
  CHECK(answer.code() == 102);
  CHECK(answer.msg().find("'slicer:sandbox/vm-1/tap0'") != std::string::npos);
  CHECK(difference(before, snapshot(seen)) == "");
  del(sandbox_conf(), second);
  CHECK(difference(before, snapshot(seen)) == "");
  (void)must("ip route add " + route.substr(0, route.find('\n')), box.path());
  const Answer checked = call(with(sandbox_conf(), "prevResult", result), call_in("CHECK", box));
  INFO(checked.text());
  CHECK(checked.ok());
}

TEST_CASE("isolated: a table that a killed DEL left in the namespace is no obstacle to the next VM there") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Netns box("box");
  const Json first = add(sandbox_conf(), call_in("ADD", box));
  (void)must("ip link del " + first["interfaces"][0]["name"].get<std::string>());
  (void)must("ip link del tap0", box.path());
  Call second = call_in("ADD", box, "vm-2");
  const Json result = add(sandbox_conf(), second);
  del(sandbox_conf(), call_in("DEL", box));  // of the first: leaves the second one's table
  CHECK(call(with(sandbox_conf(), "prevResult", result), call_in("CHECK", box, "vm-2")).ok());
}

TEST_CASE("isolated: STATUS says when nf_tables is missing, also where masquerade is iptables'") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  Json conf = sandbox_conf();
  conf.erase("backend");
  conf["ipMasqBackend"] = "iptables";
  if (const Answer here = call(conf, {.command = "STATUS"}); !here.ok()) SLICER_SKIP("no legacy tables: " + here.msg());
  const pid_t pid = fork();
  if (pid == 0) {
    forbid_nfnetlink();
    const Answer answer = call(conf, {.command = "STATUS"});
    (void)std::fputs(answer.text().c_str(), stderr);
    _exit(answer.code());
  }
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 50));
}

TEST_CASE("isolated: with the legacy tables nothing of nf_tables is needed") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  if (!is_legacy()) SLICER_SKIP("a case of the iptables backend");
  const Host host;
  const Surroundings around;
  const Netns box("box");
  Json whole = sandbox_conf();
  SUBCASE("asked for") {}
  SUBCASE("chosen, since another program keeps rules there") {
    whole.erase("backend");
    (void)must("iptables-legacy -A INPUT -i lo -j ACCEPT");
  }
  const pid_t pid = fork();
  if (pid == 0) {
    forbid_nfnetlink();
    const auto answer = [&](const char* plugin, Json conf, const char* command) {
      Call how = call_in(command, box);
      const Answer given = call_plugin(plugin, conf, how);
      if (!given.ok()) {
        (void)std::fputs((std::string(command) + " " + plugin + ": " + given.text()).c_str(), stderr);
        _exit(1);
      }
      return given.json;
    };
    (void)answer(kPlugin, whole, "STATUS");
    const Json result = answer(kPlugin, whole, "ADD");
    const Json conf = with(whole, "prevResult", result);
    Json firewall = with(with(conf, "type", "slicer-firewall"), "allow", {Surroundings::kHost, "0.0.0.0/0"});
    (void)answer("slicer-firewall", firewall, "ADD");
    (void)answer("slicer-firewall", firewall, "CHECK");
    (void)answer(kPlugin, conf, "CHECK");
    (void)answer("slicer-firewall", firewall, "DEL");
    (void)answer(kPlugin, conf, "DEL");
    (void)answer(kPlugin, with(whole, "/cni.dev~1valid-attachments", Json::array()), "GC");
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
}
