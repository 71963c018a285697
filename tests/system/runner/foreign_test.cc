// slicer-run on chains of plugins that were made for containers, with a TAP at their end.
#include <doctest/doctest.h>

#include <cstdio>
#include <filesystem>

#include "tests/system/runner/runner_support.h"
#include "tests/system/runner/upstream.h"

namespace slicer::test {
namespace {

/// A chain whose plugins made a container's interface before.
void foreign_network(const std::string& name, const std::vector<Json>& plugins) {
  write_network(name + ".conflist", {{"cniVersion", "1.0.0"}, {"name", name}, {"plugins", plugins}});
}

Json container_bridge() {
  return {{"type", "slicer-bridge"},
          {"device", "veth"},
          {"bridge", "slicer0"},
          {"isGateway", true},
          {"ipam", {{"type", "slicer-ipam"}, {"subnet", "192.0.2.0/24"}, {"routes", {{{"dst", "0.0.0.0/0"}}}}}}};
}

}  // namespace

TEST_CASE("runner foreign: a container's interface with slicer-tap behind it is a VM's") {
  const StandInMachine machine;
  foreign_network("veth", {container_bridge(), {{"type", "slicer-tap"}}});
  const Outcome made = Runner::start("demo-1", "veth");
  INFO(made.err);
  REQUIRE(made.ok());
  CHECK(made.out.starts_with("demo-1 runs: 192.0.2.2/24 on network 'veth'"));
  const std::string sandbox = "/run/netns/slicer-demo-1";
  const std::string tap = must("ip -d link show dev tap0", sandbox);
  CHECK(tap.find("slicer:veth/demo-1/eth0") != std::string::npos);
  CHECK(tap.find("user slicer-vm") != std::string::npos);
  const Json vm = Runner::vm("demo-1");
  CHECK(must("ip link show dev eth0", sandbox).find(vm.value("mac", "none")) != std::string::npos);
  CHECK(vm["addresses"] == Json{"192.0.2.2/24"});
  CHECK(Runner::run("inspect demo-1").out.find("slicer0") != std::string::npos);
  CHECK(Runner::run("vm rm demo-1").ok());
  CHECK_FALSE(exists(sandbox));
  CHECK(must("ip -br link show type veth") == "");
  CHECK(must("find /var/lib/cni -name 192.0.2.2") == "");
  CHECK(std::filesystem::is_empty("/var/lib/cni/results"));
}

TEST_CASE("runner foreign: without a TAP at its end the chain is refused with advice, and taken back") {
  const StandInMachine machine;
  foreign_network("veth", {container_bridge()});
  const Outcome refused = Runner::start("demo-1", "veth");
  CHECK(refused.exit_code == 1);
  CHECK(refused.err.find("hint: put slicer-tap at the end") != std::string::npos);
  CHECK_FALSE(exists("/run/netns/slicer-demo-1"));
  CHECK(must("find /var/lib/cni -name 192.0.2.2") == "");
}

TEST_CASE("runner foreign: tc-redirect-tap's result, which has every address twice") {
  const StandInMachine machine;
  Runner::network("fcnet", false, {{"redirectResult", true}});
  const Outcome made = Runner::start("demo-1", "fcnet");
  INFO(made.err);
  REQUIRE(made.ok());
  CHECK(Runner::vm("demo-1")["addresses"] == Json{"192.0.2.2/24"});
}

TEST_CASE("runner foreign: upstream's plugins with slicer-tap behind them") {
  if (upstream_dir().empty()) SLICER_SKIP("upstream's plugins are not built: tests/harness/build");
  const StandInMachine machine;
  const Json pool = {{"type", "host-local"}, {"subnet", "192.0.2.0/24"}, {"routes", {{{"dst", "0.0.0.0/0"}}}}};
  const Json ptp = {{"type", "ptp"}, {"ipMasq", true}, {"ipam", pool}};
  const Json bridge = {{"type", "bridge"}, {"bridge", "cni0"}, {"isGateway", true}, {"ipMasq", true}, {"ipam", pool}};
  const Json portmap = {{"type", "portmap"}, {"capabilities", {{"portMappings", true}}}};
  foreign_network("routed", {ptp, {{"type", "slicer-tap"}}});
  foreign_network("bridged", {bridge, {{"type", "firewall"}}, portmap, {{"type", "slicer-tap"}}});
  for (const std::string network : {"routed", "bridged"}) {
    CAPTURE(network);
    const Outcome made = Runner::start("demo-1", network);
    INFO(made.err);
    REQUIRE(made.ok());
    CHECK(made.out.find("192.0.2.2/24 on network '" + network) != std::string::npos);
    CHECK(Runner::run("inspect demo-1").ok());
    CHECK(Runner::run("vm rm demo-1").ok());
    CHECK_FALSE(exists("/run/netns/slicer-demo-1"));
    CHECK(eventually([] { return must("ip -br link show type veth") == ""; }));
    CHECK(must("find /var/lib/cni -name 192.0.2.2") == "");
  }
}

TEST_CASE("runner foreign: the network is found among files of all kinds, past broken ones, as libcni sorts them") {
  const StandInMachine machine;
  const auto plugin = [](const std::string& address) {
    return Json{{"type", "tap_plugin"}, {"address", address}, {"gateway", "192.0.2.1/24"}};
  };
  const auto list = [&](const std::string& name, const std::string& address) {
    return Json{{"cniVersion", "1.0.0"}, {"name", name}, {"plugins", {plugin(address)}}};
  };
  const auto single = [&](const std::string& name, const std::string& address) {
    Json conf = plugin(address);
    conf.update({{"cniVersion", "1.0.0"}, {"name", name}});
    return conf;
  };
  write_network("00-broken.conflist", "{");
  write_network("01-broken.conf", "no JSON");
  write_network("02-broken.json", Json::array());
  write_network("20-net.conflist", list("net", "192.0.2.20/24"));
  write_network("10-net.conflist", list("net", "192.0.2.10/24"));
  write_network("05-net.conf", single("net", "192.0.2.5/24"));
  write_network("30-single.json", single("single", "192.0.2.30/24"));
  write_network("40-folder.conflist", Json{{"cniVersion", "1.0.0"}, {"name", "folder"}});
  std::filesystem::create_directories("/etc/cni/net.d/folder");
  write_network("folder/10-plugin.conf", plugin("192.0.2.40/24"));
  write_network("50-inlined.conflist", with(list("inlined", "192.0.2.50/24"), "loadOnlyInlinedPlugins", true));
  std::filesystem::create_directories("/etc/cni/net.d/inlined");
  write_network("inlined/10-plugin.conf", {{"type", "no-such-plugin"}});
  const std::pair<const char*, const char*> given[] = {
      {"net", "192.0.2.10/24"}, {"single", "192.0.2.30/24"}, {"folder", "192.0.2.40/24"}, {"inlined", "192.0.2.50/24"}};
  for (const auto& [network, address] : given) {
    CAPTURE(network);
    const Outcome made = Runner::start("demo-1", network);
    INFO(made.err);
    CHECK(made.out.find(address) != std::string::npos);
    CHECK(Runner::run("vm rm demo-1").ok());
  }
  const Outcome listed = Runner::run("network list");
  for (const char* broken : {"00-broken.conflist", "01-broken.conf", "02-broken.json"}) {
    CHECK(listed.err.find(broken) != std::string::npos);
    CHECK(Runner::run("doctor").out.find(broken) != std::string::npos);
  }
  CHECK(listed.out.find("single") != std::string::npos);
  const Outcome absent = Runner::start("demo-1", "nowhere");
  CHECK(absent.err.find("00-broken.conflist") != std::string::npos);
}

}  // namespace slicer::test
