#include "tests/system/reachability/matrix.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <optional>

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
  std::string back_from = {};  ///< netns of the other direction, from which the VM is asked; empty: none
  std::string back = {};       ///< the row of the other direction; empty: it is open whenever back_from is there
  std::string out_ip = {};     ///< of rows with `from`: what the VM asks in the other direction
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
    neighbours.bridge["ipam"]["ranges"] = {{{{"subnet", "192.0.2.128/26"}}}, {{{"subnet", "2001:db8:9::/64"}}}};
    neighbours.firewall["name"] = "neighbours";
    bridge_vm = std::make_unique<firewall::Vm>(neighbours, 9);
    one = column.make(column.lists, 1);
    two = column.make(column.lists, 2);
    other = column.make(Json::object(), kOtherGroup);
    for (const char* family : {"iptables", "ip6tables"})
      Host::sysctl(std::string("net/bridge/bridge-nf-call-") + family, bridge_nf_call);
    for (const std::string& netns :
         {std::string(Host::netns()), around.machine.path(), around.internet.path(), around.router.path(), one->netns(),
          two->netns(), other->netns(), bridge_vm->netns()})
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
      const std::string internet = around.internet.path();
      const auto to = [&](const char* name, const std::string& ip, const std::string& netns, const char* back) {
        all.push_back({.name = name + end, .ip = ip, .back_from = netns, .back = back + end});
      };
      to("internet", pick(Surroundings::kInternet, Surroundings::kInternet6), internet, "from the internet");
      all.push_back({.name = "own gateway" + end, .ip = one->gateway(family), .back_from = one->gateway_netns()});
      to("host, LAN address", pick(Surroundings::kHost, Surroundings::kHost6), host, "from the host");
      to("host, other address", pick(kOtherAddress, kOtherAddress6), host, "from the host");
      to("host, DNATed port", pick(Surroundings::kHost, Surroundings::kHost6), machine, "from the LAN machine");
      all.back().port = kForwarded;
      to("LAN machine", pick(Surroundings::kLanMachine, Surroundings::kLanMachine6), machine, "from the LAN machine");
      to("VM of the same group", two->ip(family), two->netns(), "from a VM of the same group");
      to("VM of another group", other->ip(family), other->netns(), "from a VM of another group");
      to("bridge VM", pick(bridge_vm->ip(), bridge_vm->ip6()), bridge_vm->netns(), "from a bridge VM");
      all.push_back({.name = "169.254.169.254" + end, .ip = family == 4 ? kMetadata : ""});
      const auto from = [&](const char* name, const std::string& netns, const std::string& out_ip, const char* back) {
        all.push_back({.name = name + end, .from = netns, .ip = one->ip(family), .back = back + end, .out_ip = out_ip});
      };
      from("from the host", host, pick(Surroundings::kHost, Surroundings::kHost6), "host, LAN address");
      from("from the LAN machine", machine, pick(Surroundings::kLanMachine, Surroundings::kLanMachine6), "LAN machine");
      from("from the internet", internet, pick(Surroundings::kInternet, Surroundings::kInternet6), "internet");
      from("from a VM of the same group", two->netns(), two->ip(family), "VM of the same group");
      from("from a VM of another group", other->netns(), other->ip(family), "VM of another group");
      from("from a bridge VM", bridge_vm->netns(), pick(bridge_vm->ip(), bridge_vm->ip6()), "bridge VM");
    }
    return all;
  }

  /// The namespace that a row's question is asked in.
  [[nodiscard]] std::string asker(const Row& row) const { return row.from.empty() ? one->netns() : row.from; }

  Surroundings around = {};
  firewall::Chain neighbours = {};
  std::unique_ptr<firewall::Vm> bridge_vm;
  std::unique_ptr<Subject> one;
  std::unique_ptr<Subject> two;
  std::unique_ptr<Subject> other;
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

  /// The LAN machine, and the whole way from the internet: as if the VM's address were a public one.
  void route_from_outside(const std::string& ip, bool v6) const {
    const std::string subnet = ip + (v6 ? "/128" : "/32");
    around.route_to_vms(subnet);
    (void)must("ip route add " + subnet + " via " + (v6 ? Surroundings::kHost6 : Surroundings::kHost),
               around.router.path());
    (void)must("ip route add " + subnet + " via " + (v6 ? "2001:db8:113::1" : "203.0.113.1"), around.internet.path());
  }

  void route_back() const {
    for (const Subject* vm : {one.get()})
      for (const int family : {4, 6})
        if (!vm->ip(family).empty()) route_from_outside(vm->ip(family), family == 6);
  }
};

std::vector<Target> targets_of(const Row& row) {
  std::vector<Target> targets;
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kIcmp})
    targets.push_back({.protocol = protocol, .ip = row.ip, .port = row.port});
  return targets;
}

/// A row and what is expected of it.
struct Question {
  const Row* row = nullptr;
  std::string expected = {};
};

/// Asks for all rows at the same time, in the rows' order. What is expected to be open gets time; the rest is looked at
/// once.
std::vector<std::string> seen_from(const std::string& netns, const std::vector<Question>& questions) {
  std::vector<std::string> seen(questions.size(), "---");
  for (const bool open : {true, false}) {
    std::vector<Target> asked;
    std::vector<char*> places;
    for (size_t i = 0; i < questions.size(); ++i) {
      const std::vector<Target> targets = targets_of(*questions[i].row);
      for (size_t k = 0; k < targets.size(); ++k) {
        if (questions[i].expected[k] == '-' || (questions[i].expected[k] == 'o') != open) continue;
        asked.push_back(targets[k]);
        places.push_back(&seen[i][k]);
      }
    }
    if (asked.empty()) continue;
    const std::vector<bool> answers = reach(netns, asked, std::chrono::milliseconds(open ? 5000 : 500));
    for (size_t i = 0; i < places.size(); ++i) *places[i] = answers[i] ? 'o' : 'x';
  }
  return seen;
}

std::string expectation(const Column& column, const Row& row) {
  const auto found = column.cells.find(row.name);
  if (row.ip.empty() || found == column.cells.end()) return "---";
  return found->second;
}

/// The connection of the other direction, opened; none where there is nobody, or its own cell says that it is closed.
std::optional<TcpConnection> open_reverse(const Column& column, const World& world, const Row& row) {
  const bool outward = row.from.empty();
  const std::string from = outward ? row.back_from : world.one->netns();
  const std::string to = outward ? world.one->ip(row.ip.find(':') == std::string::npos ? 4 : 6) : row.out_ip;
  const auto cell = column.cells.find(row.back);
  const bool closed = !row.back.empty() && (cell == column.cells.end() || cell->second[0] != 'o');
  if (from.empty() || to.empty() || closed) return std::nullopt;
  const Target target{.protocol = Protocol::kTcp, .ip = to, .port = kServed};
  CHECK(soon_reaches(from, target));
  return TcpConnection(from, target);
}

/// Closed cells again, with the connections of the other directions open.
void check_against_reverse(const Column& column, const World& world, const std::vector<Question>& closed) {
  std::vector<TcpConnection> reverse;
  std::map<std::string, std::vector<Question>> questions;
  for (const Question& question : closed) {
    INFO("the other direction of ", question.row->name);
    std::optional<TcpConnection> connection = open_reverse(column, world, *question.row);
    if (!connection) continue;
    CHECK(connection->answers());
    reverse.push_back(std::move(*connection));
    questions[world.asker(*question.row)].push_back(question);
  }
  for (const auto& [netns, asked] : questions) {
    const std::vector<std::string> cells = seen_from(netns, asked);
    for (size_t i = 0; i < asked.size(); ++i) {
      INFO("with a connection open in the other direction: ", asked[i].row->name);
      CHECK(cells[i] == asked[i].expected);
    }
  }
  for (const TcpConnection& connection : reverse) CHECK(connection.answers());
}

}  // namespace

const std::vector<std::string>& rows() {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> names;
    for (const std::string end : {"", " (IPv6)"})
      for (const char* name :
           {"internet", "own gateway", "host, LAN address", "host, other address", "host, DNATed port", "LAN machine",
            "VM of the same group", "VM of another group", "bridge VM", "169.254.169.254", "from the host",
            "from the LAN machine", "from the internet", "from a VM of the same group", "from a VM of another group",
            "from a bridge VM"})
        names.push_back(name + end);
    return names;
  }();
  return all;
}

std::map<std::string, std::string> check_column(const Column& column, const std::string& bridge_nf_call) {
  const Host host;
  const World world(column, bridge_nf_call);
  const std::vector<Row> all = world.rows();
  std::map<std::string, std::vector<Question>> questions;  // by the namespace that asks
  for (const Row& row : all)
    if (const std::string expected = expectation(column, row); expected != "---")
      questions[world.asker(row)].push_back({&row, expected});
  std::map<std::string, std::string> seen;
  std::vector<Question> closed;
  for (const auto& [netns, asked] : questions) {
    const std::vector<std::string> cells = seen_from(netns, asked);
    for (size_t i = 0; i < asked.size(); ++i) {
      const Row& row = *asked[i].row;
      INFO(column.name, ", bridge-nf-call ", bridge_nf_call, ": ", row.name, " ", row.ip);
      seen[row.name] = cells[i];
      CHECK(cells[i] == asked[i].expected);
      if (asked[i].expected.find('x') != std::string::npos) closed.push_back(asked[i]);
    }
  }
  INFO(column.name, ", bridge-nf-call ", bridge_nf_call);
  check_against_reverse(column, world, closed);
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
