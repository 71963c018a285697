// Real guests as devices of a LAN whose router runs dnsmasq.
#include <doctest/doctest.h>

#include <filesystem>
#include <optional>

#include "tests/system/runner/runner_support.h"

namespace slicer::test {
namespace {

using namespace std::chrono_literals;

/// The LAN of the fixture, with DHCP, DNS and router advertisements.
struct Lan {
  Host host;
  Surroundings around;
  Runner runner;
  std::optional<Background> dnsmasq = {};

  Lan() { Runner::install_demo_image(); }

  /// With one more option; what was leased before is forgotten.
  void serve(const std::string& option = {}) {
    dnsmasq.reset();
    std::filesystem::remove("/run/leases");
    dnsmasq.emplace(words("dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --pid-file= "
                          "--user=root --no-ping --dhcp-authoritative --interface=lan0 --bind-interfaces "
                          "--dhcp-leasefile=/run/leases --dhcp-range=198.51.100.100,198.51.100.150,1h "
                          "--enable-ra --dhcp-range=2001:db8:100::,ra-only,64 --address=/printer.test/198.51.100.3 " +
                          option),
                    around.router.path());
    // Its name server answers: it is there.
    if (!eventually(
            [&] { return run({"sh", "-c", "ss -Hln sport = :67 | grep -q ."}, {.netns = around.router.path()}).ok(); }))
      give_up("dnsmasq does not start");
  }
};

std::string lease(const std::string& vm) {
  const Json entry = Runner::vm(vm);
  return entry.is_object() && entry["lease"].is_object() ? entry["lease"].value("address", "") : "";
}

int64_t lease_end(const std::string& vm) { return Runner::vm(vm)["lease"].value("end", int64_t{0}); }

bool has_address(const std::string& vm, const std::string& prefix) {
  const Json entry = Runner::vm(vm);
  for (const std::string address : entry["addresses"])
    if (address.starts_with(prefix)) return true;
  return false;
}

/// The page behind a forwarded port, as this host gets it.
std::string page_by_forward(const std::string& vm) {
  const Background forward(Runner::argv("vm port-forward " + vm + " 8080:80"), "");
  std::string text;
  (void)eventually(
      [&] {
        text = run({"curl", "-s", "--max-time", "5", "http://127.0.0.1:8080/"}).out;
        return !text.empty();
      },
      30s);
  return text;
}

void boot(const std::string& options, const std::string& vm, const std::string& group = "lan") {
  const Outcome made = Runner::run("new " + group + " --net=macvtap " + options);
  const Outcome up = Runner::run("up --detach -", made.out);
  INFO(made.out << made.err << up.out << up.err);
  REQUIRE(up.ok());
  REQUIRE(Runner::says(vm, "demo: ready"));
}

}  // namespace

TEST_CASE("guest lan: DHCP: the lease is shown and followed, a reservation holds, the host gets in by a port forward") {
  SLICER_NEEDS_DEMO_IMAGE();
  Lan lan;
  lan.serve();
  boot("--count=1", "lan-1");
  REQUIRE(eventually([] { return !lease("lan-1").empty(); }));
  const std::string first = lease("lan-1");
  CHECK(first.starts_with("198.51.100.1"));
  CHECK(first.ends_with("/24"));
  CHECK(has_address("lan-1", first));
  CHECK(Runner::vm("lan-1")["gateways"] == Json::array({Surroundings::kRouter}));
  CHECK(Runner::run("inspect lan-1").out.find("gateways    198.51.100.1\n") != std::string::npos);
  CHECK(Runner::run("list").out.find("  LEASE  ") != std::string::npos);
  CHECK(eventually([] { return has_address("lan-1", "2001:db8:100:"); }, 10s));  // by router advertisement

  CHECK(pings(lan.around.machine.path(), first.substr(0, first.find('/'))));
  CHECK(Runner::guest_does("lan-1", "ping -c 1 -W 2 198.51.100.3"));
  CHECK(Runner::guest_does("lan-1", "nslookup printer.test | grep -q 198.51.100.3"));
  CHECK_FALSE(pings(Host::netns(), first.substr(0, first.find('/')), 1));  // the kernel's limit
  CHECK(page_by_forward("lan-1").find("Hello from lan-1") != std::string::npos);

  // A second later, so that the end is another.
  const int64_t end = lease_end("lan-1");
  REQUIRE(eventually([&] { return std::time(nullptr) > end - 3600 + 2; }));
  CHECK(Runner::guest_does("lan-1", "kill -USR1 $(cat /run/udhcpc.pid)"));
  CHECK(eventually([&] { return lease_end("lan-1") > end; }, 10s));
  CHECK(lease("lan-1") == first);

  // The LAN's cable is pulled and put back: the guest is there again, and is still followed.
  (void)must("ip link set lan0 down");
  CHECK_FALSE(pings(lan.around.machine.path(), first.substr(0, first.find('/')), 1));
  (void)must("ip link set lan0 up");
  CHECK(eventually([&] { return pings(lan.around.machine.path(), first.substr(0, first.find('/')), 1); }, 10s));
  CHECK(Runner::vm("lan-1")["linkGone"] == false);

  // The router's owner reserves an address: the server refuses the old one.
  const std::string mac = Runner::vm("lan-1")["mac"];
  lan.serve("--dhcp-host=" + mac + ",198.51.100.77");
  CHECK(Runner::guest_does("lan-1", "kill -USR1 $(cat /run/udhcpc.pid)"));
  CHECK(eventually([] { return lease("lan-1") == "198.51.100.77/24"; }, 20s));
  CHECK_FALSE(has_address("lan-1", first));
  CHECK(pings(lan.around.machine.path(), "198.51.100.77"));

  CHECK(Runner::run("down lan").ok());
  CHECK_FALSE(exists("/run/netns/slicer-lan-1"));
  boot("--count=1", "lan-1");
  CHECK(Runner::vm("lan-1")["mac"] == mac);
  CHECK(eventually([] { return lease("lan-1") == "198.51.100.77/24"; }, 10s));
}

TEST_CASE("guest lan: static addresses, lists, VM to VM, and both ways in") {
  SLICER_NEEDS_DEMO_IMAGE();
  const Lan lan;
  boot(
      "--count=2 --parent=lan0 --cidr=198.51.100.0/24 --range=198.51.100.220-198.51.100.221 --drop 0.0.0.0/0 "
      "--allow 198.51.100.1,198.51.100.220-198.51.100.221",
      "lan-1");
  REQUIRE(Runner::says("lan-2", "demo: ready"));
  const std::string other = Runner::vm("lan-2")["addresses"][0];
  CHECK(Runner::guest_does("lan-1", "ping -c 1 -W 2 " + other.substr(0, other.find('/'))));
  const std::string own = Runner::vm("lan-1")["addresses"][0];
  CHECK(own.starts_with("198.51.100.22"));  // VMs are begun side by side
  CHECK(Runner::vm("lan-1")["lease"] == nullptr);
  CHECK(Runner::run("vm firewall lan-1").out.find("at its macvtap") != std::string::npos);
  CHECK(Runner::guest_does("lan-1", "ping -c 1 -W 2 198.51.100.1"));
  CHECK_FALSE(Runner::guest_does("lan-1", "ping -c 1 -W 1 198.51.100.3"));
  const Outcome page = run({"curl", "-s", "--max-time", "5", "http://" + own.substr(0, own.find('/')) + "/"},
                           {.netns = lan.around.machine.path()});
  CHECK(page.out.find("Hello from lan-1") != std::string::npos);
  CHECK(page_by_forward("lan-1").find("Hello from lan-1") != std::string::npos);
  CHECK(Runner::run("vm exec lan-1 -- hostname").out == "lan-1\n");

  // On another interface of this host in the same LAN.
  connect({.link = "lan1"}, {.netns = lan.around.lan.path(), .link = "to-host1"});
  (void)must("ip link set to-host1 master switch", lan.around.lan.path());
  boot("--count=1 --parent=lan1 --cidr=198.51.100.0/24 --range=198.51.100.222-198.51.100.222", "far-1", "far");
  CHECK(Runner::guest_does("far-1", "ping -c 1 -W 2 " + own.substr(0, own.find('/'))));
  CHECK(Runner::guest_does("lan-2", "ping -c 1 -W 1 198.51.100.222") == false);  // its lists say so
  CHECK(Runner::run("down lan").ok());
  CHECK(Runner::run("down far").ok());
}

}  // namespace slicer::test
