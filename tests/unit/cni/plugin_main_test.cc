#include "lib/cni/plugin_main.h"

#include <doctest/doctest.h>

#include "lib/cni/result_versions.h"
#include "tests/unit/cni/fake_process.h"

namespace slicer::cni {
namespace {

using testing::FakeProcess;

Result<void> nothing(const Request&) { return {}; }
Result<CniResult> one_address(const Request& request) {
  return CniResult{.interfaces = {{.name = request.env.ifname, .sandbox = request.env.netns}},
                   .ips = {{.address = addr::parse_cidr("192.0.2.7/24").value(), .interface = 0}}};
}
constexpr Plugin kPlugin{.name = "slicer-test",
                         .about = "a test",
                         .add = one_address,
                         .del = nothing,
                         .check = nothing,
                         .gc = nothing,
                         .status = nothing};

std::map<std::string, std::string> environment_of(const std::string& command) {
  return {{"CNI_COMMAND", command},
          {"CNI_CONTAINERID", "vm1"},
          {"CNI_NETNS", "/proc/self/ns/net"},
          {"CNI_IFNAME", "eth0"},
          {"CNI_PATH", "/opt/cni/bin"}};
}

std::string configuration(std::string_view version) {
  return dump_json({{"cniVersion", version}, {"name", "net"}, {"type", "slicer-test"}});
}

}  // namespace

TEST_CASE("plugin_main: ADD prints the result in the configuration's version") {
  for (const std::string_view version : supported_versions()) {
    CAPTURE(version);
    FakeProcess process{.env = environment_of("ADD"), .in = configuration(version)};
    REQUIRE(process.run(kPlugin) == 0);
    CHECK(process.json().at("cniVersion") == version);
    CHECK(process.json().contains("ips") == version_at_least(version, "0.3.0"));
    CHECK(process.out.back() == '\n');
  }
}

TEST_CASE("plugin_main: all missing variables are named at once") {
  FakeProcess process{.env = {{"CNI_COMMAND", "ADD"}, {"CNI_PATH", "/opt/cni/bin"}}, .in = configuration("1.0.0")};
  CHECK(process.run(kPlugin) == 1);
  CHECK(process.json().at("code") == 4);
  CHECK(process.json().at("msg") == "missing environment: CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME");
  CHECK(process.json().at("cniVersion") == "1.1.0");
}

TEST_CASE("plugin_main: VERSION lists every version and needs nothing") {
  FakeProcess process{.env = {{"CNI_COMMAND", "VERSION"}}};
  REQUIRE(process.run(kPlugin) == 0);
  CHECK(process.json().at("cniVersion") == "1.1.0");
  CHECK(process.json().at("supportedVersions") ==
        Json({"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}));
}

}  // namespace slicer::cni
