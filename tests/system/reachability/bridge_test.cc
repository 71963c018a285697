// The columns of slicer-bridge.
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/system/firewall/policy_support.h"
#include "tests/system/reachability/matrix.h"

using namespace slicer::test;
using namespace slicer::test::reachability;

namespace {

class BridgeVm : public Subject {
 public:
  BridgeVm(const Json& lists, int number)
      : vm_(number == kOtherGroup ? other_chain() : chain(lists), number), other_(number == kOtherGroup) {}
  [[nodiscard]] std::string netns() const override { return vm_.netns(); }
  [[nodiscard]] std::string ip(int family) const override { return family == 4 ? vm_.ip() : vm_.ip6(); }
  [[nodiscard]] std::string gateway(int family) const override {
    if (other_) return family == 4 ? "192.0.2.193" : "2001:db8:8::1";
    return family == 4 ? "192.0.2.1" : "2001:db8:2::1";
  }

 private:
  static firewall::Chain chain(const Json& lists) {
    firewall::Chain chain;
    chain.bridge["ipam"]["ranges"][0][0]["subnet"] = "192.0.2.0/25";
    chain.firewall.update(lists);
    return chain;
  }
  static firewall::Chain other_chain() {
    firewall::Chain chain;
    chain.bridge["name"] = "other";
    chain.bridge["bridge"] = "slicer8";
    chain.bridge["ipam"]["ranges"] = {{{{"subnet", "192.0.2.192/26"}}}, {{{"subnet", "2001:db8:8::/64"}}}};
    chain.firewall["name"] = "other";
    return chain;
  }
  firewall::Vm vm_;
  bool other_ = false;
};

std::unique_ptr<Subject> make(const Json& lists, int number) { return std::make_unique<BridgeVm>(lists, number); }

std::map<std::string, std::string> every_row(const std::string& cell) {
  std::map<std::string, std::string> cells;
  for (const std::string& row : rows()) cells[row] = cell;
  // The world forwards TCP and UDP of that port; a ping of the same address is the host's own.
  for (const char* row : {"169.254.169.254 (IPv6)"}) cells[row] = "---";
  return cells;
}

std::map<std::string, std::string> merge(std::map<std::string, std::string> cells,
                                         const std::map<std::string, std::string>& changes) {
  for (const auto& [row, cell] : changes) cells[row] = cell;
  return cells;
}

/// Nobody's lists say who may reach the VM.
std::map<std::string, std::string> open_inwards(std::map<std::string, std::string> cells) {
  for (auto& [row, cell] : cells)
    if (row.starts_with("from ")) cell = "ooo";
  return cells;
}

}  // namespace

const std::vector<Column>& slicer::test::reachability::bridge_columns() {
  static const std::vector<Column> all = {
      {.name = "bridge", .make = make, .cells = every_row("ooo")},
      {.name = "bridge, drop the LAN",
       .lists = {{"drop", {"198.51.100.0/24", "2001:db8:100::/64"}}},
       .make = make,
       .cells = merge(every_row("ooo"), {{"host, LAN address", "xxx"},
                                         {"host, DNATed port", "xxx"},
                                         {"LAN machine", "xxx"},
                                         {"host, LAN address (IPv6)", "xxx"},
                                         {"host, DNATed port (IPv6)", "xxx"},
                                         {"LAN machine (IPv6)", "xxx"}})},
      {.name = "bridge, allow the LAN machine's port",
       .lists = {{"allow", {"198.51.100.3:7777", "[2001:db8:100::3]:7777"}}},
       .make = make,
       .cells = merge(open_inwards(every_row("xxx")), {{"LAN machine", "oox"},
                                                       {"LAN machine (IPv6)", "oox"},
                                                       {"from a VM of the same group", "xxx"},
                                                       {"from a VM of the same group (IPv6)", "xxx"}})},
      {.name = "bridge, drop the LAN, allow its machine",
       .lists = {{"drop", {"198.51.100.0/24", "2001:db8:100::/64", "192.0.2.0/25:7777", "[2001:db8:2::/64]:7777"}},
                 {"allow", {"198.51.100.3", "2001:db8:100::3", "0.0.0.0/0", "::/0"}}},
       .make = make,
       .cells = merge(every_row("ooo"), {{"host, LAN address", "xxx"},
                                         {"host, DNATed port", "xxx"},
                                         {"own gateway", "xxo"},
                                         {"own gateway (IPv6)", "xxo"},
                                         {"VM of the same group", "xxo"},
                                         {"VM of the same group (IPv6)", "xxo"},
                                         {"from a VM of the same group", "xxo"},
                                         {"from a VM of the same group (IPv6)", "xxo"},
                                         {"host, LAN address (IPv6)", "xxx"},
                                         {"host, DNATed port (IPv6)", "xxx"}})},
      {.name = "bridge, drop 0.0.0.0/0",
       .lists = {{"drop", {"0.0.0.0/0"}}},
       .make = make,
       .cells = merge(open_inwards(every_row("xxx")),
                      {{"from a VM of the same group", "xxx"}, {"from a VM of the same group (IPv6)", "xxx"}})},
  };
  return all;
}

namespace {

void check(size_t column) {
  if (const std::string missing = firewall::missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  for (const char* bridge_nf_call : {"0", "1"}) (void)check_column(bridge_columns()[column], bridge_nf_call);
}

}  // namespace

TEST_CASE("reachability: bridge") { check(0); }
TEST_CASE("reachability: bridge, drop") { check(1); }
TEST_CASE("reachability: bridge, allow") { check(2); }
TEST_CASE("reachability: bridge, drop and allow") { check(3); }
TEST_CASE("reachability: bridge, drop 0.0.0.0/0") { check(4); }
