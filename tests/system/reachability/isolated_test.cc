// The columns of slicer-isolated.
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/system/firewall/policy_support.h"
#include "tests/system/isolated/isolated_support.h"
#include "tests/system/reachability/matrix.h"

using namespace slicer::test;
using namespace slicer::test::reachability;

namespace {

/// With an IPv6 address that the guest took by itself, IPv6 switched on where the plugin switches it off, and all the
/// ways to it that a host could have: nothing may come of it.
class IsolatedVm : public Subject {
 public:
  IsolatedVm(const Json& lists, int number)
      : vm_(conf_of(number), "vm-" + std::to_string(number)), ip6_("2001:db8:66::" + std::to_string(number)) {
    Json conf = {{"cniVersion", "1.1.0"},
                 {"name", conf_of(number)["name"]},
                 {"type", "slicer-firewall"},
                 {"prevResult", vm_.result}};
    if (firewall::is_legacy()) conf["backend"] = "iptables";
    conf.update(lists);
    const Answer answer = call_plugin("slicer-firewall", conf, vm_.how);
    if (!answer.ok()) give_up("ADD: " + answer.text());
    take_ip6();
  }
  [[nodiscard]] std::string netns() const override { return vm_.guest.netns(); }
  [[nodiscard]] std::string ip(int family) const override { return family == 4 ? vm_.ip() : ip6_; }
  [[nodiscard]] std::string gateway(int family) const override { return family == 4 ? vm_.gateway() : ""; }
  [[nodiscard]] std::string gateway_netns() const override { return vm_.box.path(); }

 private:
  static Json conf_of(int number) {
    if (number != kOtherGroup) return isolated::sandbox_conf();
    return with(isolated::sandbox_conf("other"), "range", "169.254.104.0/22");
  }
  static std::string mac_of(const std::string& netns, const std::string& link) {
    const std::string shown = must("ip -o link show " + link, netns);
    const size_t at = shown.find("link/ether ") + 11;
    return shown.substr(at, 17);
  }
  void take_ip6() const {
    const std::string host_end = vm_.result["interfaces"][0]["name"];
    const std::string uplink = uplink_name();
    const std::string tap = mac_of(vm_.box.path(), "tap0");
    (void)must("ip addr add " + ip6_ + "/128 dev eth0 nodad", netns());
    (void)must("ip neigh replace fe80::1 lladdr " + tap + " dev eth0 nud permanent", netns());
    (void)must("ip route add default via fe80::1 dev eth0", netns());
    Host::sysctl("net/ipv6/conf/" + host_end + "/disable_ipv6", "0");
    in_netns(vm_.box.path(), [&] {
      for (const std::string& link : {std::string("tap0"), uplink})
        Host::sysctl("net/ipv6/conf/" + link + "/disable_ipv6", "0");
    });
    // On the host, towards the uplink; in the VM's namespace, both ways.
    (void)must("ip neigh replace " + ip6_ + " lladdr " + mac_of(vm_.box.path(), uplink) + " dev " + host_end +
               " nud permanent");
    (void)must("ip route replace " + ip6_ + "/128 dev " + host_end);
    in_netns(vm_.box.path(), [] { Host::sysctl("net/ipv6/conf/all/forwarding", "1"); });
    (void)must("ip neigh replace " + ip6_ + " lladdr " + mac_of(netns(), "eth0") + " dev tap0 nud permanent",
               vm_.box.path());
    (void)must("ip route replace " + ip6_ + "/128 dev tap0", vm_.box.path());
    (void)must(
        "ip neigh replace fe80::1 lladdr " + mac_of(Host::netns(), host_end) + " dev " + uplink + " nud permanent",
        vm_.box.path());
    (void)must("ip route replace default via fe80::1 dev " + uplink, vm_.box.path());
  }
  [[nodiscard]] std::string uplink_name() const {
    const std::string shown = must("ip -o -4 route show default", vm_.box.path());
    const size_t at = shown.find(" dev ") + 5;
    return shown.substr(at, shown.find(' ', at) - at);
  }

  isolated::Vm vm_;
  std::string ip6_;
};

std::unique_ptr<Subject> make(const Json& lists, int number) { return std::make_unique<IsolatedVm>(lists, number); }

/// Everything closed but pings of the own gateway; what no VM of this mode has is not asked.
std::map<std::string, std::string> closed_but(const std::map<std::string, std::string>& changes) {
  std::map<std::string, std::string> cells;
  for (const std::string& row : rows()) cells[row] = "xxx";
  cells["own gateway"] = "xxo";
  for (const char* row : {"own gateway (IPv6)", "169.254.169.254 (IPv6)"}) cells[row] = "---";
  for (const auto& [row, cell] : changes) cells[row] = cell;
  return cells;
}

}  // namespace

const std::vector<Column>& slicer::test::reachability::isolated_columns() {
  static const std::vector<Column> all = {
      {.name = "isolated", .make = make, .cells = closed_but({{"internet", "ooo"}, {"LAN machine", "ooo"}})},
      {.name = "isolated, drop the LAN",
       .lists = {{"drop", {"198.51.100.0/24"}}},
       .make = make,
       .cells = closed_but({{"internet", "ooo"}})},
      {.name = "isolated, allow the LAN machine's port and the host's",
       .lists = {{"allow", {"198.51.100.3:7777", "198.51.100.2:7777"}}},
       .make = make,
       .cells = closed_but({{"LAN machine", "oox"}, {"host, LAN address", "oox"}})},
      {.name = "isolated, drop the LAN, allow its machine",
       .lists = {{"drop", {"198.51.100.0/24"}}, {"allow", {"198.51.100.3"}}},
       .make = make,
       .cells = closed_but({{"internet", "ooo"}, {"LAN machine", "ooo"}})},
      {.name = "isolated, drop 0.0.0.0/0", .lists = {{"drop", {"0.0.0.0/0"}}}, .make = make, .cells = closed_but({})},
  };
  return all;
}

namespace {

void check(size_t column) {
  if (const std::string missing = firewall::missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  (void)check_column(isolated_columns()[column], "1");
}

}  // namespace

TEST_CASE("reachability: isolated") { check(0); }
TEST_CASE("reachability: isolated, drop") { check(1); }
TEST_CASE("reachability: isolated, allow") { check(2); }
TEST_CASE("reachability: isolated, drop and allow") { check(3); }
TEST_CASE("reachability: isolated, drop 0.0.0.0/0") { check(4); }
