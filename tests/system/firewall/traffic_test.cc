// Packets: masquerading, and a host whose FORWARD drops.
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/system/firewall/firewall_support.h"

using namespace slicer::test;
using namespace slicer::test::firewall;

namespace {

constexpr const char* kVm = "192.0.2.2";
constexpr const char* kVm6 = "2001:db8:2::2";
constexpr const char* kForward = "net1 bridge=br0 forward=192.0.2.0/24 forward=2001:db8:2::/64";

/// A machine behind br0 of a host that forwards between it and the surroundings.
class VmNetwork {
 public:
  VmNetwork() {
    (void)must("ip link add br0 type bridge forward_delay 0");
    (void)must("ip addr add 192.0.2.1/24 dev br0");
    (void)must("ip addr add 2001:db8:2::1/64 dev br0 nodad");
    (void)must("ip link set br0 up");
    connect({.netns = vm.path(), .link = "eth0", .address = std::string(kVm) + "/24"}, {.link = "port0"});
    (void)must("ip link set port0 master br0");
    (void)must("ip addr add " + std::string(kVm6) + "/64 dev eth0 nodad", vm.path());
    (void)must("ip route add default via 192.0.2.1", vm.path());
    (void)must("ip route add default via 2001:db8:2::1", vm.path());
    Host::sysctl("net/ipv4/ip_forward", "1");
    Host::sysctl("net/ipv6/conf/all/forwarding", "1");
  }
  Netns vm{"vm"};
  Surroundings around = {};
};

void drop_forwarding() {
  (void)must("iptables-nft -P FORWARD DROP");
  (void)must("ip6tables-nft -P FORWARD DROP");
}

void make_docker_user() {
  for (const char* iptables : {"iptables-nft", "ip6tables-nft"}) {
    const std::string start = iptables;
    (void)must(start + " -N DOCKER-USER");
    (void)must(start + " -A DOCKER-USER -j RETURN");
    (void)must(start + " -A FORWARD -j DOCKER-USER");
  }
}

/// The first packets of a new link wait for its duplicate address detection.
bool reaches(const std::string& from, const std::string& to) {
  return eventually([&] { return pings(from, to); });
}

}  // namespace

TEST_CASE("netfilter: masquerade brings answers back from where nobody knows the VM's subnet") {
  const Host host;
  const VmNetwork network;
  CHECK_FALSE(pings(network.vm.path(), Surroundings::kInternet, 1));
  must_drive("ensure net1 masquerade=192.0.2.0/24");
  CHECK(reaches(network.vm.path(), Surroundings::kInternet));
  CHECK_FALSE(pings(network.vm.path(), Surroundings::kInternet6, 1));
  must_drive("ensure net1 masquerade=2001:db8:2::/64");
  CHECK(reaches(network.vm.path(), Surroundings::kInternet6));
  must_drive("remove net1");
  CHECK_FALSE(pings(network.vm.path(), Surroundings::kLanMachine, 1));
}

TEST_CASE("netfilter: traffic inside the subnet keeps its address") {
  const Host host;
  const VmNetwork network;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  const Netns other("other");
  connect({.netns = other.path(), .link = "eth0", .address = "192.0.2.3/24"}, {.link = "port1"});
  (void)must("ip link set port1 master br0");
  must_drive("ensure net1 masquerade=192.0.2.0/24");
  // Counted in the receiver, by source address.
  (void)must("nft add table ip seen", other.path());
  (void)must("nft add chain ip seen in { type filter hook input priority 0 ; }", other.path());
  (void)must(std::string("nft add rule ip seen in icmp type echo-request ip saddr ") + kVm + " counter", other.path());
  CHECK(reaches(network.vm.path(), "192.0.2.3"));
  CHECK(must("nft list chain ip seen in", other.path()).find("packets 0 ") == std::string::npos);
}

TEST_CASE("netfilter: a FORWARD that drops is opened both ways, and for this network alone") {
  const Host host;
  const VmNetwork network;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  network.around.route_to_vms("192.0.2.0/24");
  network.around.route_to_vms("2001:db8:2::/64");
  drop_forwarding();
  CHECK_FALSE(pings(network.vm.path(), Surroundings::kLanMachine, 1));
  must_drive(std::string("ensure ") + kForward);
  CHECK(reaches(network.vm.path(), Surroundings::kLanMachine));
  CHECK(reaches(network.vm.path(), Surroundings::kLanMachine6));
  CHECK(reaches(network.around.machine.path(), kVm));
  CHECK(reaches(network.around.machine.path(), kVm6));
  // What passes between others is still dropped.
  (void)must("ip route add 203.0.113.0/24 via 198.51.100.2", network.around.machine.path());
  Host::sysctl("net/ipv4/conf/all/send_redirects", "0");
  CHECK_FALSE(pings(network.around.machine.path(), Surroundings::kInternet, 1));
}

TEST_CASE("netfilter: where Docker is, its DOCKER-USER gets the openings") {
  const Host host;
  const VmNetwork network;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  network.around.route_to_vms("192.0.2.0/24");
  drop_forwarding();
  make_docker_user();
  const std::string before = ruleset();
  must_drive(std::string("ensure ") + kForward);
  must_drive(std::string("ensure ") + kForward);
  CHECK(reaches(network.vm.path(), Surroundings::kLanMachine));
  CHECK(must("iptables-nft -S DOCKER-USER") ==
        "-N DOCKER-USER\n"
        "-A DOCKER-USER -d 192.0.2.0/24 -o br0 -m comment --comment \"slicer:net1\" -j ACCEPT\n"
        "-A DOCKER-USER -i br0 -m comment --comment \"slicer:net1\" -j ACCEPT\n"
        "-A DOCKER-USER -j RETURN\n");
  CHECK(must("iptables-nft -S FORWARD") == "-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n");
  CHECK(must("ip6tables-nft -S DOCKER-USER").find("-d 2001:db8:2::/64 -o br0") != std::string::npos);
  must_drive("remove net1");
  CHECK(ruleset() == before);
}

TEST_CASE("netfilter: iptables finds, deletes, saves and restores the openings") {
  const Host host;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  drop_forwarding();
  must_drive(std::string("ensure ") + kForward);
  const std::string in = " FORWARD -i br0 -m comment --comment slicer:net1 -j ACCEPT";
  const std::string out = " FORWARD -o br0 -d 192.0.2.0/24 -m comment --comment slicer:net1 -j ACCEPT";
  (void)must("iptables-nft -C" + in);
  (void)must("iptables-nft -C" + out);
  const std::string listed = must("iptables-nft -S");
  REQUIRE(run({"sh", "-c", "iptables-nft-save >/run/saved && iptables-nft-restore </run/saved"}).ok());
  CHECK(must("iptables-nft -S") == listed);
  must_drive(std::string("check ") + kForward);   // iptables keeps the comment in its own way now
  must_drive(std::string("ensure ") + kForward);  // and is not given it twice
  CHECK(must("iptables-nft -S") == listed);
  (void)must("iptables-nft -D" + in);
  const Outcome checked = drive(std::string("check ") + kForward);
  CHECK(
      checked.err.find("rule 'iifname \"br0\" accept' is gone from chain 'FORWARD' in table 'ip filter', whose FORWARD "
                       "drops by default") != std::string::npos);
  must_drive(std::string("ensure ") + kForward);
  (void)must("iptables-nft -D" + out);
  must_drive("remove net1");
  CHECK(must("iptables-nft -S FORWARD") == "-P FORWARD DROP\n");
}

TEST_CASE("netfilter: a FORWARD that accepts gets no rule of ours") {
  const Host host;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  (void)must("iptables-nft -P FORWARD ACCEPT");
  make_docker_user();
  const std::string before = must("iptables-nft -S");
  must_drive(std::string("ensure ") + kForward);
  CHECK(must("iptables-nft -S") == before);
  // Docker comes later and closes it: the next ADD opens.
  (void)must("iptables-nft -P FORWARD DROP");
  CHECK(drive(std::string("check ") + kForward).exit_code == 1);
  must_drive(std::string("ensure ") + kForward);
  must_drive(std::string("check ") + kForward);
}

TEST_CASE("netfilter: openings for 16 first ADDs at once are made once") {
  const Host host;
  if (const std::string missing = missing_tool(); !missing.empty()) SLICER_SKIP(missing);
  drop_forwarding();
  const std::string loop =
      "for i in $(seq 16); do " + driver() + " ensure " + kForward + " || echo failed & done; wait";
  CHECK(run({"sh", "-c", loop}).out == "");
  CHECK(must("iptables-nft -S FORWARD") ==
        "-P FORWARD DROP\n"
        "-A FORWARD -d 192.0.2.0/24 -o br0 -m comment --comment \"slicer:net1\" -j ACCEPT\n"
        "-A FORWARD -i br0 -m comment --comment \"slicer:net1\" -j ACCEPT\n");
}
