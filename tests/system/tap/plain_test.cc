// slicer-tap first in its chain: upstream tap's work.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "tests/system/tap/tap_support.h"

using namespace slicer::test;
using namespace slicer::test::tap;

namespace {

/// What upstream's documentation of its tap plugin shows, and addresses.
Json plain_conf() {
  return {{"cniVersion", "1.1.0"},
          {"name", "plain"},
          {"type", kPlugin},
          {"multiQueue", true},
          {"mtu", 1400},
          {"mac", "00:11:22:33:44:55"},
          {"owner", 40001},
          {"group", 40002},
          {"ipam",
           {{"type", "slicer-ipam"},
            {"ranges", {{{{"subnet", "192.0.2.0/24"}}}, {{{"subnet", "2001:db8:1::/64"}}}}},
            {"routes", {{{"dst", "203.0.113.0/24"}}, {{"dst", "2001:db8:113::/64"}, {"priority", 77}}}}}},
          {"dns", {{"nameservers", {"192.0.2.53"}}}}};
}

/// errno of a program of that user and group which opens the TAP; 0: it has it.
int open_as(const Netns& box, unsigned user, unsigned group) {
  int status = -1;
  in_netns(box.path(), [&] {
    const pid_t child = fork();
    if (child == 0) {
      const int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
      ifreq request = {.ifr_ifrn = {.ifrn_name = "eth0"},
                       .ifr_ifru = {.ifru_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR}};
      if (setgroups(0, nullptr) != 0 || setresgid(group, group, group) != 0 || setresuid(user, user, user) != 0)
        _exit(255);
      _exit(ioctl(tun, TUNSETIFF, &request) == 0 ? 0 : errno);
    }
    (void)waitpid(child, &status, 0);
  });
  REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

/// A TAP as upstream's tap makes it without an owner, by `ip tuntap`, and what that one prints.
Json upstreams_tap(const Netns& box) {
  (void)must("ip tuntap add eth0 mode tap", box.path());
  (void)must("ip link set eth0 up address 02:00:5e:00:53:07", box.path());
  (void)must("ip addr add 192.0.2.7/24 dev eth0", box.path());
  return {{"cniVersion", "1.1.0"},
          {"interfaces", {{{"name", "eth0"}, {"mac", "02:00:5e:00:53:07"}, {"sandbox", box.path()}}}},
          {"ips", {{{"address", "192.0.2.7/24"}, {"interface", 0}}}}};
}

}  // namespace

TEST_CASE("tap plain: upstream's configuration makes upstream's TAP, with its addresses in the namespace") {
  const Host host;
  const Netns box("box");
  const SnapshotOptions seen{.netns = {box.path()}};
  const Json settled = must_add(kPlugin, plain_conf(), call_in("ADD", box));
  must_del(kPlugin, plain_conf(), call_in("DEL", box));
  const std::string before = snapshot(seen);
  const Json result = must_add(kPlugin, plain_conf(), call_in("ADD", box));
  INFO(result.dump(1));
  REQUIRE(result["interfaces"].size() == 2);
  CHECK(result["interfaces"][0] ==
        Json{{"name", "eth0"}, {"mac", "00:11:22:33:44:55"}, {"mtu", 1400}, {"sandbox", box.path()}});
  CHECK(result["interfaces"][1]["name"] == "eth0");
  CHECK(result["interfaces"][1]["sandbox"] == "vm-1");
  CHECK(result["interfaces"][1]["mac"] != "00:11:22:33:44:55");
  REQUIRE(result["ips"].size() == 2);
  for (const Json& ip : result["ips"]) CHECK(ip["interface"] == 0);
  CHECK(result["routes"].size() == 2);
  CHECK(result["dns"]["nameservers"] == Json{"192.0.2.53"});
  const std::string link = must("ip -d link show dev eth0", box.path());
  for (const char* part :
       {"mtu 1400", "00:11:22:33:44:55", "user 40001 group 40002", "multi_queue", "persist on", ",UP"})
    CHECK_MESSAGE(link.find(part) != std::string::npos, part << " in " << link);
  for (const Json& ip : result["ips"])
    CHECK(must("ip addr show dev eth0", box.path()).find(ip["address"]) != std::string::npos);
  CHECK(must("ip addr show dev eth0", box.path()).find("brd 192.0.2.255") != std::string::npos);
  CHECK(must("cat /proc/sys/net/ipv4/conf/eth0/arp_notify /proc/sys/net/ipv6/conf/eth0/keep_addr_on_down",
             box.path()) == "1\n1\n");
  CHECK(must("ip route", box.path()).find("203.0.113.0/24 via 192.0.2.1 dev eth0") != std::string::npos);
  CHECK(must("ip -6 route", box.path()).find("2001:db8:113::/64 via 2001:db8:1::1 dev eth0 proto static metric 77") !=
        std::string::npos);
  const Json conf = with(plain_conf(), "prevResult", result);
  const Answer whole = call(conf, call_in("CHECK", box));
  INFO(whole.text());
  CHECK(whole.ok());
  for (int i = 0; i < 2; ++i) must_del(kPlugin, conf, call_in("DEL", box));
  CHECK(difference(before, snapshot(seen)) == "");
}

TEST_CASE("tap plain: the MAC that the call asks for is before the configuration's") {
  const Host host;
  const Netns box("box");
  const Json runtime = with(plain_conf(), "runtimeConfig", {{"mac", "00:11:22:33:44:66"}});
  CHECK(must_add(kPlugin, runtime, call_in("ADD", box))["interfaces"][0]["mac"] == "00:11:22:33:44:66");
  must_del(kPlugin, runtime, call_in("DEL", box));
  const Call by_args = call_in("ADD", box, "vm-1", "IgnoreUnknown=1;MAC=00:11:22:33:44:77");
  CHECK(must_add(kPlugin, plain_conf(), by_args)["interfaces"][0]["mac"] == "00:11:22:33:44:77");
}

TEST_CASE("tap plain: without ipam it is a TAP and no more, and a bridge of the namespace takes it") {
  const Host host;
  const Netns box("box");
  Json conf = {{"cniVersion", "1.0.0"}, {"name", "plain"}, {"type", kPlugin}, {"bridge", "br0"}};
  const Answer absent = call(conf, call_in("ADD", box));
  INFO(absent.text());
  CHECK(absent.code() == 101);
  CHECK(absent.msg().find("'br0'") != std::string::npos);
  (void)must("ip link add br0 type bridge", box.path());
  const Json result = must_add(kPlugin, conf, call_in("ADD", box));
  CHECK_FALSE(result.contains("ips"));
  CHECK(must("ip link show dev eth0", box.path()).find("master br0") != std::string::npos);
  CHECK(must("ip -d link show dev eth0", box.path()).find("user root") != std::string::npos);
  CHECK(call(with(conf, "prevResult", result), call_in("CHECK", box)).ok());
  (void)must("ip link set eth0 nomaster", box.path());
  const Answer loose = call(with(conf, "prevResult", result), call_in("CHECK", box));
  CHECK(loose.code() == 105);
  CHECK(loose.msg().find("'br0'") != std::string::npos);
}

TEST_CASE("tap plain: a name in use is refused, and a failed ADD costs its owner nothing") {
  const Host host;
  const Netns box("box");
  (void)must("ip tuntap add eth0 mode tap", box.path());
  const SnapshotOptions seen{.netns = {box.path()}};
  const std::string before = snapshot(seen);
  const Answer refused = call(plain_conf(), call_in("ADD", box));
  INFO(refused.text());
  CHECK(refused.code() == 102);
  must_del(kPlugin, plain_conf(), call_in("DEL", box));
  CHECK(difference(before, snapshot(seen)) == "");
}

TEST_CASE("tap plain: an IPAM that has nothing left leaves no TAP") {
  const Host host;
  const Netns box("box");
  Json conf = plain_conf();
  conf["ipam"] = {{"type", "slicer-ipam"}, {"addresses", {"192.0.2.9/24"}}};
  const Netns other("other");
  (void)must_add(kPlugin, conf, call_in("ADD", other, "vm-0"));
  const Answer refused = call(conf, call_in("ADD", box));
  INFO(refused.text());
  CHECK(refused.code() == 104);
  CHECK(must("ip -br link show type tun", box.path()) == "");
}

TEST_CASE("tap plain: CHECK names what is gone") {
  const Host host;
  const Netns box("box");
  const Json result = must_add(kPlugin, plain_conf(), call_in("ADD", box));
  const Json conf = with(plain_conf(), "prevResult", result);
  const std::string v4 = address_of(result, 4);
  const std::pair<std::string, std::string> damages[] = {
      {"ip link set eth0 mtu 1300", "its MTU is 1300 instead of 1400"},
      {"ip link set eth0 mtu 1400 address 02:00:5e:00:53:09", "its MAC is 02:00:5e:00:53:09"},
      {"ip addr del " + v4 + " dev eth0", "no address '" + v4 + "'"},
      {"ip link set eth0 down", "it is down"},
      {"ip link del eth0", "no such link"}};
  for (const auto& [command, word] : damages) {
    CAPTURE(command);
    (void)must(command, box.path());
    const Answer broken = call(conf, call_in("CHECK", box));
    INFO(broken.text());
    CHECK(broken.code() == 105);
    CHECK(broken.msg().find(word) != std::string::npos);
    if (command.find("address") != std::string::npos)
      (void)must("ip link set eth0 address 00:11:22:33:44:55", box.path());
  }
}

TEST_CASE("tap plain: a SELinux label is refused where SELinux is off, and nothing is left") {
  if (run({"grep", "-q", "[a-z_]*:[a-z_]*:[a-z_]*", "/proc/self/attr/current"}).ok())
    SLICER_SKIP("SELinux is on here: label_test.cc is for that");
  const Host host;
  const Netns box("box");
  const Json conf = with(plain_conf(), "selinuxContext", "system_u:system_r:container_t:s0");
  const Answer refused = call(conf, call_in("ADD", box));
  INFO(refused.text());
  CHECK(refused.code() == 2);
  CHECK(refused.msg() == "use \"selinuxContext\" 'system_u:system_r:container_t:s0': SELinux is off on this host");
  CHECK(must("ip -br link show type tun", box.path()) == "");
  CHECK(call(conf, {.command = "STATUS"}).code() == 50);
  CHECK(call(plain_conf(), {.command = "STATUS"}).ok());
  must_del(kPlugin, conf, call_in("DEL", box));
}

TEST_CASE("tap plain: a group alone opens the TAP to its members, an owner to himself, both to who is both") {
  const Host host;
  const Netns box("box");
  struct Row {
    Json keys;
    int owner_and_member, owner, member, stranger;
  };
  for (const Row& row : {Row{{{"group", 40002}}, 0, EPERM, 0, EPERM}, Row{{{"owner", 40001}}, 0, 0, EPERM, EPERM},
                         Row{{{"owner", 40001}, {"group", 40002}}, 0, EPERM, EPERM, EPERM},
                         Row{Json::object(), EPERM, EPERM, EPERM, EPERM}}) {
    CAPTURE(row.keys.dump());
    Json conf = tap_conf("plain");
    conf.update(row.keys);
    const Json result = must_add(kPlugin, conf, call_in("ADD", box));
    CHECK(open_as(box, 40001, 40002) == row.owner_and_member);
    CHECK(open_as(box, 40001, 40009) == row.owner);
    CHECK(open_as(box, 40009, 40002) == row.member);
    CHECK(open_as(box, 40009, 40009) == row.stranger);
    CHECK(call(with(conf, "prevResult", result), call_in("CHECK", box)).ok());
    must_del(kPlugin, conf, call_in("DEL", box));
  }
}

TEST_CASE("tap plain: a TAP that upstream's tap made is checked and removed as its own, by prevResult and MAC") {
  const Host host;
  const Netns box("box");
  const Json result = upstreams_tap(box);
  const Json conf = with(tap_conf("plain"), "prevResult", result);
  const auto refused = [&](const Json& keys, const std::string& cause) {
    Json asked = conf;
    asked.update(keys);
    const Answer answer = call(asked, call_in("CHECK", box));
    INFO(answer.text());
    CHECK(answer.code() == 105);
    CHECK(answer.msg().find(cause) != std::string::npos);
  };
  CHECK(call(conf, call_in("CHECK", box)).ok());
  refused({{"owner", 40001}}, "its owner is not 40001");
  refused({{"multiQueue", true}}, "it has one queue");
  refused({{"macspoofchk", true}}, "upstream's tap made this TAP, without one");
  (void)must("ip addr del 192.0.2.7/24 dev eth0", box.path());
  refused(Json::object(), "no address '192.0.2.7/24'");
  // Not what prevResult says, or told by nobody.
  Json other = conf;
  other["prevResult"]["interfaces"][0]["mac"] = "02:00:5e:00:53:08";
  for (const Json& stranger : {tap_conf("plain"), other}) must_del(kPlugin, stranger, call_in("DEL", box));
  (void)must("ip link set eth0 alias mine", box.path());
  must_del(kPlugin, conf, call_in("DEL", box));
  CHECK(must("ip -br link show type tun", box.path()) != "");
  REQUIRE(run({"ip", "link", "set", "eth0", "alias", ""}, {.netns = box.path()}).ok());
  for (int i = 0; i < 2; ++i) must_del(kPlugin, conf, call_in("DEL", box));
  CHECK(must("ip -br link show type tun", box.path()) == "");
}

TEST_CASE("tap plain: GC removes TAP and address") {
  const Host host;
  const Netns kept("kept");
  const Netns stale("stale");
  const SnapshotOptions all{.netns = {kept.path(), stale.path()}};
  (void)must_add(kPlugin, plain_conf(), call_in("ADD", kept, "keep"));
  (void)must_add(kPlugin, plain_conf(), call_in("ADD", stale, "stale"));
  must_del(kPlugin, plain_conf(), call_in("DEL", stale, "stale"));
  const std::string before = snapshot(all);
  (void)must_add(kPlugin, plain_conf(), call_in("ADD", stale, "stale"));
  const Json valid = {{{"containerID", "keep"}, {"ifname", "eth0"}}};
  const Answer collected = call(with(plain_conf(), "/cni.dev~1valid-attachments", valid), {.command = "GC"});
  INFO(collected.text());
  CHECK(collected.ok());
  CHECK(must("ip -br link show type tun", stale.path()) == "");
  CHECK(must("find /var/lib/cni/networks/plain -name 192.0.2.*").find("192.0.2.2\n") != std::string::npos);
  CHECK(must("find /var/lib/cni/networks/plain -name 192.0.2.3") == "");
  CHECK(difference(before, snapshot(all)) == "");
}
