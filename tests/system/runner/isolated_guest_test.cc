// A real guest in each column of slicer-isolated: it tries by itself what it can reach, all of them side by side.
#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <memory>

#include "tests/system/fixture/reach.h"
#include "tests/system/runner/runner_support.h"

namespace slicer::test {
namespace {

using namespace std::chrono_literals;

constexpr uint16_t kServed = 7777;

/// What is to be reached by TCP and ping: "oo" both, "xx" neither.
struct Column {
  std::string group = {};
  std::string lists = {};  ///< YAML behind "mode: isolated"
  std::string internet = {};
  std::string lan_machine = {};
  std::string router = {};  ///< another machine of the LAN
};

const std::vector<Column>& columns() {
  static const std::vector<Column> all = {
      {.group = "plain", .internet = "oo", .lan_machine = "oo", .router = "oo"},
      {.group = "drop",
       .lists = "        drop: [\"198.51.100.0/24\"]\n",
       .internet = "oo",
       .lan_machine = "xx",
       .router = "xx"},
      {.group = "allow",
       .lists = "        allow: [\"198.51.100.3:7777\"]\n",
       .internet = "xx",
       .lan_machine = "ox",
       .router = "xx"},
      {.group = "both",
       .lists = "        drop: [\"198.51.100.0/24\"]\n        allow: [\"198.51.100.3\"]\n",
       .internet = "oo",
       .lan_machine = "oo",
       .router = "xx"},
      {.group = "nothing",
       .lists = "        drop: [\"0.0.0.0/0\"]\n",
       .internet = "xx",
       .lan_machine = "xx",
       .router = "xx"},
  };
  return all;
}

/// A conflist of /etc/cni/net.d with "log"; its group comes beside the columns.
constexpr const char* kLogged = "logged";

std::string yaml() {
  std::string text = "config:\n  host_groups:\n";
  for (const Column& column : columns())
    text += "    - name: " + column.group + "\n      count: 1\n      ram_mb: 128\n      network:\n" +
            "        mode: isolated\n" + column.lists;
  return text + "    - name: " + kLogged + "\n      count: 1\n      ram_mb: 128\n      network_name: " + kLogged + "\n";
}

std::string log_of(const std::string& vm) { return contents("/run/slicer/" + vm + "/console.log"); }

std::string address(const std::string& vm) {
  const std::string cidr = Runner::vm(vm)["addresses"][0];
  return cidr.substr(0, cidr.find('/'));
}

/// A guest's shell that asks for each of `targets` (name -> address) and tells on its console; ends with the object.
class Asking {
 public:
  Asking(std::string vm, const std::map<std::string, std::string>& targets)
      : vm_(std::move(vm)), typed_("/run/typed-" + vm_) {
    std::ofstream typed(typed_);
    typed << "ask() {\n"
          << "ping -c 1 -W 3 $2 >/dev/null 2>&1 && echo $1=ping\n"
          << "echo x | timeout 4 nc -w 3 $2 " << kServed << " 2>/dev/null | grep -q x && echo $1=tcp\n}\n";
    for (const auto& [name, ip] : targets) typed << "ask " << name << " " << ip << " &\n";
    typed << "wait; echo all''-asked\n";
    typed.close();
    console_ = std::make_unique<Background>(
        std::vector<std::string>{"sh", "-c", "exec " + Runner::argv("")[0] + " vm console " + vm_ + " <" + typed_}, "");
  }
  [[nodiscard]] bool done() const {
    return eventually([&] { return log_of(vm_).find("all-asked") != std::string::npos; }, 60s);
  }
  /// "oo": TCP and ping.
  [[nodiscard]] std::string reached(const std::string& name) const {
    const std::string log = log_of(vm_);
    const auto mark = [&](const char* how) { return log.find(name + "=" + how) == std::string::npos ? "x" : "o"; };
    return std::string(mark("tcp")) + mark("ping");
  }

 private:
  std::string vm_;
  std::string typed_;
  std::unique_ptr<Background> console_;
};

struct World {
  World() {
    Runner::install_demo_image();
    (void)must("ip addr add 169.254.169.254/32 dev lan0", around.machine.path());
    (void)must("ip route add 169.254.169.254 via 198.51.100.3");
    for (const std::string& netns :
         {std::string(Host::netns()), around.machine.path(), around.router.path(), around.internet.path()})
      servers.push_back(std::make_unique<EchoServer>(netns, std::vector<uint16_t>{kServed}));
    const Json list = {
        {"cniVersion", "1.0.0"},
        {"name", kLogged},
        {"plugins",
         {{{"type", "slicer-isolated"}}, {{"type", "slicer-firewall"}, {"drop", {"203.0.113.0/24"}}, {"log", true}}}}};
    std::ofstream("/etc/cni/net.d/60-logged.conflist") << list.dump();
    std::ofstream("/run/columns.yaml") << yaml();
  }

  Host host = {};
  Surroundings around = {};
  Runner runner = {};
  std::vector<std::unique_ptr<EchoServer>> servers = {};
};

}  // namespace

TEST_CASE("guest isolated: a real guest in every column reaches what its lists say and nothing of the host") {
  SLICER_NEEDS_DEMO_IMAGE();
  const World world;
  const Outcome up = Runner::run("up --detach /run/columns.yaml");
  INFO(up.out << up.err);
  REQUIRE(up.ok());
  std::map<std::string, std::string> targets = {
      {"internet", Surroundings::kInternet}, {"machine", Surroundings::kLanMachine}, {"router", Surroundings::kRouter},
      {"host", Surroundings::kHost},         {"metadata", "169.254.169.254"},        {"other", address("logged-1")}};
  std::map<std::string, Asking> asking;
  for (const Column& column : columns()) {
    const std::string vm = column.group + "-1";
    REQUIRE(Runner::says(vm, "#"));
    targets["gateway"] = Runner::vm(vm)["gateways"][0];
    asking.try_emplace(column.group, vm, targets);
  }
  REQUIRE(Runner::says("logged-1", "#"));
  const Asking logged("logged-1", {{"internet", Surroundings::kInternet}});
  for (const Column& column : columns()) {
    CAPTURE(column.group);
    const Asking& guest = asking.at(column.group);
    REQUIRE(guest.done());
    CHECK(guest.reached("internet") == column.internet);
    CHECK(guest.reached("machine") == column.lan_machine);
    CHECK(guest.reached("router") == column.router);
    CHECK(guest.reached("gateway") == "xo");
    for (const char* closed : {"host", "metadata", "other"}) {
      CAPTURE(closed);
      CHECK(guest.reached(closed) == "xx");
    }
  }
  REQUIRE(logged.done());
  CHECK(logged.reached("internet") == "xx");
  const std::string told = Runner::run("vm logs --packets logged-1").out;
  CAPTURE(told);
  CHECK(told.find("from the VM, tcp " + address("logged-1") + ":") != std::string::npos);
  CHECK(told.find(" -> 203.0.113.9:7777, by the lists of network 'logged'\n") != std::string::npos);
  CHECK(told.find("from the VM, icmp type 8 ") != std::string::npos);
}

}  // namespace slicer::test
