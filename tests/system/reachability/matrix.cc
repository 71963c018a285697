#include "tests/system/reachability/matrix.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "tests/system/firewall/policy_support.h"

namespace slicer::test::reachability {
namespace {

constexpr uint16_t kServed = 7777;
constexpr uint16_t kForwarded = 9999;  // DNATed by the host to the LAN machine
constexpr const char* kOtherAddress = "203.0.113.200";
constexpr const char* kOtherAddress6 = "2001:db8:200::1";
constexpr const char* kMetadata = "169.254.169.254";

/// One thing to reach, or somebody who reaches the VM.
struct Row {
  std::string name = {};
  std::string from = {};  ///< netns; empty: the VM
  std::string ip = {};    ///< empty: does not exist here
  uint16_t port = kServed;
  std::string back_from = {};  ///< netns from which a connection to the VM can be opened; empty: none
};

/// Everything around the column's VM.
class World {
 public:
  World(const Column& column, const std::string& bridge_nf_call) {
    (void)must("ip link add other0 type bridge");
    (void)must(std::string("ip addr add ") + kOtherAddress + "/32 dev other0");
    (void)must(std::string("ip addr add ") + kOtherAddress6 + "/128 dev other0 nodad");
    (void)must("ip link set other0 up");
    (void)must(std::string("ip addr add ") + kMetadata + "/32 dev lan0", around.router.path());
    forward_a_port();
    neighbours.bridge["name"] = "neighbours";
    neighbours.bridge["bridge"] = "slicer9";
    neighbours.bridge["ipam"]["ranges"] = {{{{"subnet", "192.0.2.128/25"}}}, {{{"subnet", "2001:db8:9::/64"}}}};
    neighbours.firewall["name"] = "neighbours";
    bridge_vm = std::make_unique<firewall::Vm>(neighbours, 9);
    one = column.make(column.lists, 1);
    two = column.make(column.lists, 2);
    for (const char* family : {"iptables", "ip6tables"})
      Host::sysctl(std::string("net/bridge/bridge-nf-call-") + family, bridge_nf_call);
    for (const std::string& netns : {std::string(Host::netns()), around.machine.path(), around.internet.path(),
                                     around.router.path(), one->netns(), two->netns(), bridge_vm->netns()})
      servers.push_back(std::make_unique<EchoServer>(netns, std::vector<uint16_t>{kServed}));
    route_back();
  }

  [[nodiscard]] std::vector<Row> rows() const {
    const std::string host = Host::netns();
    std::vector<Row> all;
    for (const int family : {4, 6}) {
      const auto pick = [&](const std::string& v4, const std::string& v6) { return family == 4 ? v4 : v6; };
      const std::string end = family == 4 ? "" : " (IPv6)";
      const std::string machine = around.machine.path();
      all.push_back({.name = "internet" + end, .ip = pick(Surroundings::kInternet, Surroundings::kInternet6)});
      all.push_back({.name = "own gateway" + end, .ip = one->gateway(family), .back_from = host});
      all.push_back({.name = "host, LAN address" + end,
                     .ip = pick(Surroundings::kHost, Surroundings::kHost6),
                     .back_from = host});
      all.push_back(
          {.name = "host, other address" + end, .ip = pick(kOtherAddress, kOtherAddress6), .back_from = host});
      all.push_back({.name = "host, DNATed port" + end,
                     .ip = pick(Surroundings::kHost, Surroundings::kHost6),
                     .port = kForwarded,
                     .back_from = machine});
      all.push_back({.name = "LAN machine" + end,
                     .ip = pick(Surroundings::kLanMachine, Surroundings::kLanMachine6),
                     .back_from = machine});
      all.push_back({.name = "VM of the same group" + end, .ip = two->ip(family), .back_from = two->netns()});
      all.push_back({.name = "VM of another network" + end,
                     .ip = pick(bridge_vm->ip(), bridge_vm->ip6()),
                     .back_from = bridge_vm->netns()});
      all.push_back({.name = "169.254.169.254" + end, .ip = family == 4 ? kMetadata : ""});
      all.push_back({.name = "from the host" + end, .from = host, .ip = one->ip(family)});
      all.push_back({.name = "from the LAN machine" + end, .from = machine, .ip = one->ip(family)});
      all.push_back({.name = "from a VM of the same group" + end, .from = two->netns(), .ip = one->ip(family)});
      all.push_back({.name = "from a VM of another network" + end, .from = bridge_vm->netns(), .ip = one->ip(family)});
    }
    return all;
  }

  Surroundings around = {};
  firewall::Chain neighbours = {};
  std::unique_ptr<firewall::Vm> bridge_vm;
  std::unique_ptr<Subject> one;
  std::unique_ptr<Subject> two;
  std::vector<std::unique_ptr<EchoServer>> servers = {};

 private:
  static void forward_a_port() {
    (void)must("nft add table inet forwarded");
    (void)must("nft add chain inet forwarded in { type nat hook prerouting priority dstnat ; }");
    for (const char* protocol : {"tcp", "udp"}) {
      const std::string match = std::string(" ") + protocol + " dport " + std::to_string(kForwarded) + " dnat ";
      (void)must(std::string("nft add rule inet forwarded in ip daddr ") + Surroundings::kHost + match + "ip to " +
                 Surroundings::kLanMachine + ":" + std::to_string(kServed));
      (void)must(std::string("nft add rule inet forwarded in ip6 daddr ") + Surroundings::kHost6 + match + "ip6 to [" +
                 Surroundings::kLanMachine6 + "]:" + std::to_string(kServed));
    }
  }

  void route_back() const {
    for (const Subject* vm : {one.get()})
      for (const int family : {4, 6})
        if (!vm->ip(family).empty()) around.route_to_vms(vm->ip(family) + (family == 4 ? "/32" : "/128"));
  }
};

std::vector<Target> targets_of(const Row& row) {
  std::vector<Target> targets;
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp})
    targets.push_back({.protocol = protocol, .ip = row.ip, .port = row.port});
  return targets;
}

/// What is expected to be open gets time; the rest is looked at together, once.
std::string seen_from(const std::string& netns, const Row& row, const std::string& expected) {
  std::string seen = "---";
  const std::vector<Target> targets = targets_of(row);
  for (const bool open : {true, false}) {
    std::vector<Target> asked;
    std::vector<size_t> places;
    for (size_t i = 0; i < targets.size(); ++i) {
      if (expected[i] == '-' || (expected[i] == 'o') != open) continue;
      asked.push_back(targets[i]);
      places.push_back(i);
    }
    if (asked.empty()) continue;
    const std::vector<bool> answers = reach(netns, asked, std::chrono::milliseconds(open ? 5000 : 500));
    for (size_t i = 0; i < places.size(); ++i) seen[places[i]] = answers[i] ? 'o' : 'x';
  }
  return seen;
}

std::string expectation(const Column& column, const Row& row) {
  const auto found = column.cells.find(row.name);
  if (row.ip.empty() || found == column.cells.end()) return "---";
  return found->second;
}

/// Closed cells again, with a connection from the other side to the VM open.
void check_against_reverse(const World& world, const Row& row, const std::string& expected) {
  if (row.back_from.empty() || expected.find('x') == std::string::npos) return;
  const std::string vm = world.one->ip(row.ip.find(':') == std::string::npos ? 4 : 6);
  if (!soon_reaches(row.back_from, {Protocol::kTcp, vm, kServed})) return;
  const TcpConnection reverse(row.back_from, {Protocol::kTcp, vm, kServed});
  CHECK(reverse.answers());
  INFO("with a connection open from the other side");
  CHECK(seen_from(world.one->netns(), row, expected) == expected);
  CHECK(reverse.answers());
}

}  // namespace

const std::vector<std::string>& rows() {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> names;
    for (const std::string end : {"", " (IPv6)"})
      for (const char* name :
           {"internet", "own gateway", "host, LAN address", "host, other address", "host, DNATed port", "LAN machine",
            "VM of the same group", "VM of another network", "169.254.169.254", "from the host", "from the LAN machine",
            "from a VM of the same group", "from a VM of another network"})
        names.push_back(name + end);
    return names;
  }();
  return all;
}

std::map<std::string, std::string> check_column(const Column& column, const std::string& bridge_nf_call) {
  const Host host;
  const World world(column, bridge_nf_call);
  std::map<std::string, std::string> seen;
  for (const Row& row : world.rows()) {
    const std::string expected = expectation(column, row);
    if (expected == "---") continue;
    INFO(column.name, ", bridge-nf-call ", bridge_nf_call, ": ", row.name, " ", row.ip);
    seen[row.name] = seen_from(row.from.empty() ? world.one->netns() : row.from, row, expected);
    CHECK(seen[row.name] == expected);
    if (row.from.empty()) check_against_reverse(world, row, expected);
  }
  return seen;
}

std::string markdown(const std::vector<Column>& columns) {
  const auto word = [](const std::string& cell) -> std::string {
    if (cell == "ooo") return "open";
    if (cell == "xxx") return "closed";
    if (cell == "---") return "–";
    std::string text;
    const char* names[] = {"TCP", "UDP", "ICMP"};
    for (size_t i = 0; i < cell.size(); ++i)
      if (cell[i] == 'o') text += (text.empty() ? "" : ", ") + std::string(names[i]);
    return text + " open";
  };
  std::string text = "| from the VM to |";
  std::string line = "|---|";
  for (const Column& column : columns) {
    text += " " + column.name + " |";
    line += "---|";
  }
  text += "\n" + line + "\n";
  for (const std::string& row : rows()) {
    text += "| " + row + " |";
    for (const Column& column : columns) {
      const auto cell = column.cells.find(row);
      text += " " + word(cell == column.cells.end() ? "---" : cell->second) + " |";
    }
    text += "\n";
  }
  return text;
}

}  // namespace slicer::test::reachability
