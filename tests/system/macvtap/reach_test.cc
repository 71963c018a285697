// What a VM on the LAN reaches, and what reaches it.
#include <doctest/doctest.h>

#include <cstdio>
#include <fstream>
#include <set>

#include "tests/system/macvtap/macvtap_support.h"

using namespace slicer::test;
using namespace slicer::test::macvtap;

namespace {

Json mode_conf(const char* mode) { return with(quick_conf(), "mode", mode); }

/// A second interface of the host on the same LAN.
void add_lan1(const Surroundings& around) {
  connect({.link = "lan1"}, {.netns = around.lan.path(), .link = "to-host1"});
  (void)must("ip link set to-host1 master switch", around.lan.path());
}

/// Another host on the LAN: links, machine ID and IPAM's folder of its own.
struct SecondHost {
  explicit SecondHost(const Surroundings& around) {
    connect({.netns = netns.path(), .link = "lan0", .address = "198.51.100.4/24"},
            {.netns = around.lan.path(), .link = "to-second"});
    (void)must("ip link set to-second master switch", around.lan.path());
    std::ofstream("/run/second-machine-id") << "ffffffffffffffffffffffffffffffff\n";
  }
  /// ADD of a plugin that is run there.
  [[nodiscard]] Json add(Json conf, const Call& how) const {
    conf["ipam"]["dataDir"] = "/run/second-networks";
    const Outcome outcome =
        run({"unshare", "--mount", "sh", "-c", "mount --bind /run/second-machine-id /etc/machine-id && exec \"$0\"",
             bin_dir() + "/" + kPlugin},
            {.in = conf.dump(), .env = cni_environment(how), .netns = netns.path()});
    if (!outcome.ok()) give_up("ADD on the second host: " + outcome.out + outcome.err);
    return Json::parse(outcome.out);
  }
  Netns netns{"second"};
};

}  // namespace

TEST_CASE("macvtap reach: VM and LAN both ways, the internet, but not the host and not from it") {
  const Host host;
  const Surroundings around;
  const Vm vm(quick_conf());
  CHECK(vm.pings(Surroundings::kLanMachine));
  CHECK(pings(around.machine.path(), vm.ip()));
  CHECK(vm.pings(Surroundings::kInternet));
  // The kernel's limit: what the parent sends and receives passes the macvtaps by.
  CHECK_FALSE(pings(vm.guest.netns(), Surroundings::kHost, 1));
  CHECK_FALSE(pings(Host::netns(), vm.ip(), 1));
}

TEST_CASE("macvtap reach: two VMs on one parent, and on two of one LAN") {
  const Host host;
  const Surroundings around;
  add_lan1(around);
  const Vm one(quick_conf(), "vm-1");
  const Vm same(quick_conf(), "vm-2");
  const Vm other(with(quick_conf(), "parent", "lan1"), "vm-3");
  CHECK(one.pings(same.ip()));
  CHECK(same.pings(one.ip()));
  CHECK(one.pings(other.ip()));
  CHECK(other.pings(same.ip()));
}

TEST_CASE("macvtap reach: a second host with the same network and VM name: other MAC, other address, both ways") {
  const Host host;
  const Surroundings around;
  const SecondHost second(around);
  const Vm here(static_conf());
  const Netns box("second-box");
  const Call how = call_in("ADD", box);
  const Json result = second.add(static_conf(), how);  // its own IPAM knows nothing of ours: the LAN is asked
  CHECK(guest_entry(result, "vm-1")["mac"] != guest_entry(here.result, "vm-1")["mac"]);
  CHECK(here.ip() == "198.51.100.220");
  CHECK(ip_of(result, 4) == "198.51.100.221");
  const Guest there(Guest::from_result(result, how, "there"));
  CHECK(here.pings(ip_of(result, 4)));
  CHECK(pings(there.netns(), here.ip()));
  CHECK(here.pings("198.51.100.4"));             // the other host itself
  CHECK(pings(second.netns.path(), here.ip()));  // whose parent is not the VM's
  CHECK_FALSE(pings(there.netns(), "198.51.100.4", 1));
}

TEST_CASE("macvtap reach: 'private' and 'vepa' VMs of one parent do not meet on it, the LAN they reach") {
  const Host host;
  const Surroundings around;
  const char* mode = nullptr;
  SUBCASE("private") { mode = "private"; }
  SUBCASE("vepa") { mode = "vepa"; }
  const Vm one(mode_conf(mode), "vm-1");
  const Vm two(mode_conf(mode), "vm-2");
  CHECK(must("ip -d link show tap0", one.box.path()).find(std::string("macvtap mode ") + mode) != std::string::npos);
  CHECK(one.pings(Surroundings::kLanMachine));
  CHECK(two.pings(Surroundings::kLanMachine));
  CHECK_FALSE(pings(one.guest.netns(), two.ip(), 1));
  // A switch that sends a frame back where it came from.
  (void)must("bridge link set dev to-host hairpin on", around.lan.path());
  if (std::string(mode) == "vepa")
    CHECK(one.pings(two.ip()));
  else
    CHECK_FALSE(one.pings(two.ip(), 1));
}

TEST_CASE("macvtap reach: 'passthru' gives the VM the parent's own MAC, or the parent the VM's") {
  const Host host;
  const Surroundings around;
  add_lan1(around);
  const auto lan1_mac = [] { return Json::parse(must("ip -j link show lan1"))[0]["address"].get<std::string>(); };
  const std::string own = lan1_mac();
  Json conf = with(mode_conf("passthru"), "parent", "lan1");
  std::string mac = own;
  SUBCASE("its own") {}
  SUBCASE("asked for") { conf["mac"] = mac = "02:00:5e:00:53:77"; }
  {
    const Vm vm(conf);
    CHECK(guest_entry(vm.result, "vm-1")["mac"] == mac);
    CHECK(lan1_mac() == mac);
    CHECK(vm.pings(Surroundings::kLanMachine));
    CHECK(pings(around.machine.path(), vm.ip()));
    CHECK(call(with(conf, "prevResult", vm.result), call_in("CHECK", vm.box)).ok());
    del(conf, vm.how);
  }
  CHECK(lan1_mac() == own);
}

TEST_CASE("macvtap reach: 64 VMs on one parent") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  std::set<std::string> macs;
  Call last;
  Json result;
  const Vm first(with(quick_conf(), "/ipam/range", "198.51.100.100-198.51.100.200"), "vm-0");
  for (int i = 1; i < 64; ++i) {
    last = call_in("ADD", box, "vm-" + std::to_string(i));
    last.ifname = "tap" + std::to_string(i);
    result = add(with(quick_conf(), "/ipam/range", "198.51.100.100-198.51.100.200"), last);
    macs.insert(guest_entry(result, last.container_id)["mac"].get<std::string>());
  }
  CHECK(macs.size() == 63);
  const Guest guest(Guest::from_result(result, last, "last"));
  CHECK(pings(guest.netns(), Surroundings::kLanMachine));
  CHECK(pings(guest.netns(), first.ip()));
  CHECK(pings(around.machine.path(), ip_of(result, 4)));
}
