// Real guests on chains of upstream's plugins that end in slicer-tap.
#include <doctest/doctest.h>

#include <cstdio>
#include <filesystem>

#include "tests/system/runner/runner_support.h"
#include "tests/system/runner/upstream.h"

namespace slicer::test {

using namespace std::chrono_literals;

TEST_CASE("guest foreign: guests on upstream's ptp, and on its bridge with firewall and portmap, talk both ways") {
  SLICER_NEEDS_DEMO_IMAGE();
  if (upstream_dir().empty()) SLICER_SKIP("upstream's plugins are not built: tests/harness/build");
  const Host host;
  const Surroundings around;
  const Runner runner;
  Runner::install_demo_image();
  const auto pool = [](const char* subnet) {
    return Json{{"type", "host-local"}, {"subnet", subnet}, {"routes", {{{"dst", "0.0.0.0/0"}}}}};
  };
  const Json tap = {{"type", "slicer-tap"}, {"macspoofchk", true}};
  const Json ptp = {{"type", "ptp"}, {"ipMasq", true}, {"ipam", pool("192.0.2.0/25")}};
  const Json bridge = {
      {"type", "bridge"}, {"bridge", "cni0"}, {"isGateway", true}, {"ipMasq", true}, {"ipam", pool("192.0.2.128/25")}};
  const Json portmap = {{"type", "portmap"}, {"capabilities", {{"portMappings", true}}}};
  write_network("routed.conflist", {{"cniVersion", "1.0.0"}, {"name", "routed"}, {"plugins", {ptp, tap}}});
  write_network(
      "bridged.conflist",
      {{"cniVersion", "1.0.0"}, {"name", "bridged"}, {"plugins", {bridge, {{"type", "firewall"}}, portmap, tap}}});
  const std::pair<const char*, const char*> vms[] = {{"routed", "192.0.2.2"}, {"bridged", "192.0.2.130"}};
  for (const auto& [name, address] : vms) {
    const Outcome made = Runner::run("vm new " + std::string(name) + " --network " + name);
    INFO(made.err);
    REQUIRE(made.ok());
  }
  for (const auto& [name, address] : vms) {
    CAPTURE(name);
    std::string page;
    const std::string url = "http://" + std::string(address) + "/";
    CHECK(eventually(
        [&] {
          page = run({"curl", "-s", "--max-time", "5", url}).out;
          return !page.empty();
        },
        60s));
    CHECK(page.find(name) != std::string::npos);
    REQUIRE(Runner::says(name, "demo: ready"));
    CHECK(Runner::guest_does(name, std::string("ping -c 1 -W 5 ") + Surroundings::kInternet));
  }
  for (const auto& [name, address] : vms) CHECK(Runner::run("vm rm " + std::string(name)).ok());
  CHECK(std::filesystem::is_empty("/var/lib/cni/results"));
  CHECK(must("find /var/lib/cni/networks -name 192.0.2.*") == "");
}

}  // namespace slicer::test
