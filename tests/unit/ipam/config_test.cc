#include "ipam/config.h"

#include <doctest/doctest.h>

#include "tests/unit/ipam/helpers.h"

using namespace slicer::ipam;
using namespace slicer::ipam::test;
using slicer::Kind;
using slicer::Result;
using slicer::cni::Json;

namespace {

/// The configuration with this "ipam" section and further top-level keys.
Result<Config> parse(const std::string& ipam, const std::string& more = "{}", const std::string& ip_arg = "",
                     const std::string& version = "1.0.0") {
  Json raw = {{"cniVersion", version}, {"name", "net"}, {"type", "x"}, {"ipam", Json::parse(ipam)}};
  raw.update(Json::parse(more));
  slicer::cni::Environment env;
  if (!ip_arg.empty()) env.args["IP"] = ip_arg;
  return parse_config(slicer::cni::parse_net_conf(raw.dump()).value(), env);
}

std::string error_of(const std::string& ipam, const std::string& more = "{}") {
  const Result<Config> config = parse(ipam, more);
  if (config) return "no error";
  CHECK(config.error().kind == Kind::kInvalidConfig);
  return config.error().message;
}

/// "range /prefix gw gateway; …" of all segments of all pools, sets separated by " | ".
std::string pools_of(const Result<Config>& config) {
  REQUIRE_MESSAGE(config, config.error().message);
  std::string text;
  for (const Pool& pool : config->pools) {
    if (!text.empty()) text += " | ";
    for (const Segment& segment : pool.segments()) {
      text += segment.range.text() + " /" + std::to_string(segment.prefix);
      if (segment.gateway) text += " gw " + segment.gateway->text();
      if (segment.on_request) text += " on request";
      if (segment.stride != 1) text += " by " + std::to_string(segment.stride);
      text += ";";
    }
  }
  return text;
}

}  // namespace

TEST_CASE("ipam config: subnet alone: all hosts, the first is the gateway, as host-local has it") {
  CHECK(pools_of(parse(R"({"subnet": "192.0.2.0/24"})")) == "192.0.2.1-192.0.2.254 /24 gw 192.0.2.1;");
  CHECK(pools_of(parse(R"({"subnet": "2001:db8::/64"})")) ==
        "2001:db8::1-2001:db8::ffff:ffff:ffff:ffff /64 gw 2001:db8::1;");
}

TEST_CASE("ipam config: rangeStart, rangeEnd, gateway") {
  CHECK(pools_of(parse(R"({"subnet": "192.0.2.0/24", "rangeStart": "192.0.2.10", "rangeEnd": "192.0.2.20",
                           "gateway": "192.0.2.254"})")) == "192.0.2.10-192.0.2.20 /24 gw 192.0.2.254;");
}

TEST_CASE("ipam config: ranges: sets of ranges, after the section's own range") {
  CHECK(pools_of(parse(R"({"subnet": "192.0.2.0/29", "ranges": [
            [{"subnet": "198.51.100.0/29"}, {"subnet": "203.0.113.0/29", "gateway": "203.0.113.6"}],
            [{"subnet": "2001:db8::/126"}]]})")) ==
        "192.0.2.1-192.0.2.6 /29 gw 192.0.2.1; | "
        "198.51.100.1-198.51.100.6 /29 gw 198.51.100.1;203.0.113.1-203.0.113.6 /29 gw 203.0.113.6; | "
        "2001:db8::1-2001:db8::3 /126 gw 2001:db8::1;");
}

TEST_CASE("ipam config: runtimeConfig.ipRanges come first") {
  CHECK(pools_of(parse(R"({"subnet": "192.0.2.0/29"})",
                       R"({"runtimeConfig": {"ipRanges": [[{"subnet": "198.51.100.0/29"}]]}})")) ==
        "198.51.100.1-198.51.100.6 /29 gw 198.51.100.1; | 192.0.2.1-192.0.2.6 /29 gw 192.0.2.1;");
  CHECK(pools_of(parse(R"({"type": "slicer-ipam"})",
                       R"({"runtimeConfig": {"ipRanges": [[{"subnet": "198.51.100.0/29"}]]}})")) ==
        "198.51.100.1-198.51.100.6 /29 gw 198.51.100.1;");
}

TEST_CASE("ipam config: a gateway with prefix length alone gives the 35 highest host addresses") {
  CHECK(pools_of(parse(R"({"gateway": "192.168.1.1/24"})")) == "192.168.1.220-192.168.1.254 /24 gw 192.168.1.1;");
  CHECK(pools_of(parse(R"({"gateway": "10.0.0.1/16"})")) == "10.0.255.220-10.0.255.254 /16 gw 10.0.0.1;");
  CHECK(pools_of(parse(R"({"gateway": "192.0.2.1/28"})")) == "192.0.2.1-192.0.2.14 /28 gw 192.0.2.1;");
  CHECK(pools_of(parse(R"({"gateway": "192.0.2.1/23"})")) == "192.0.3.220-192.0.3.254 /23 gw 192.0.2.1;");
  CHECK(pools_of(parse(R"({"gateway": "192.0.2.1/25"})")) == "192.0.2.92-192.0.2.126 /25 gw 192.0.2.1;");
  CHECK(pools_of(parse(R"({"gateway": "192.0.2.65/26"})")) == "192.0.2.92-192.0.2.126 /26 gw 192.0.2.65;");
  CHECK(pools_of(parse(R"({"gateway": "192.0.2.1/27"})")) == "192.0.2.1-192.0.2.30 /27 gw 192.0.2.1;");
  CHECK(pools_of(parse(R"({"gateway": "192.0.2.1/30"})")) == "192.0.2.1-192.0.2.2 /30 gw 192.0.2.1;");
  CHECK(pools_of(parse(R"({"gateway": "192.0.2.254/24"})")) == "192.0.2.220-192.0.2.254 /24 gw 192.0.2.254;");
  CHECK(pools_of(parse(R"({"gateway": "2001:db8::1/64"})")) ==
        "2001:db8::ffff:ffff:ffff:ffdd-2001:db8::ffff:ffff:ffff:ffff /64 gw 2001:db8::1;");
}

TEST_CASE("ipam config: range and addresses override, with the gateway's or the subnet's prefix length") {
  CHECK(pools_of(parse(R"({"gateway": "192.168.1.1/24", "range": "192.168.1.100-192.168.1.200"})")) ==
        "192.168.1.100-192.168.1.200 /24 gw 192.168.1.1;");
  CHECK(pools_of(parse(R"({"subnet": "192.0.2.0/24", "range": "192.0.2.20-192.0.2.80"})")) ==
        "192.0.2.20-192.0.2.80 /24 gw 192.0.2.1;");
  CHECK(pools_of(parse(R"({"gateway": "192.168.1.1/24", "addresses": ["192.168.1.202", "192.168.1.200/24"]})")) ==
        "192.168.1.202-192.168.1.202 /24 gw 192.168.1.1;192.168.1.200-192.168.1.200 /24 gw 192.168.1.1;");
  CHECK(pools_of(parse(R"({"addresses": ["192.0.2.9/28"]})")) == "192.0.2.9-192.0.2.9 /28;");
  CHECK(pools_of(parse(R"({"ranges": [[{"gateway": "192.0.2.1/24", "addresses": ["192.0.2.9"]}]]})")) ==
        "192.0.2.9-192.0.2.9 /24 gw 192.0.2.1;");
}

TEST_CASE("ipam config: addresses beside a range are for who asks for them, and the range's others for all") {
  const auto both = [](const std::string& range, const std::string& addresses) {
    return pools_of(
        parse(R"({"subnet": "192.0.2.0/24", "range": ")" + range + R"(", "addresses": [)" + addresses + "]}"));
  };
  CHECK(both("192.0.2.20-192.0.2.29", R"("192.0.2.40")") ==
        "192.0.2.20-192.0.2.29 /24 gw 192.0.2.1;192.0.2.40-192.0.2.40 /24 gw 192.0.2.1 on request;");
  CHECK(both("192.0.2.20-192.0.2.29", R"("192.0.2.29", "192.0.2.20", "192.0.2.25", "192.0.2.24")") ==
        "192.0.2.21-192.0.2.23 /24 gw 192.0.2.1;192.0.2.26-192.0.2.28 /24 gw 192.0.2.1;"
        "192.0.2.20-192.0.2.20 /24 gw 192.0.2.1 on request;192.0.2.24-192.0.2.24 /24 gw 192.0.2.1 on request;"
        "192.0.2.25-192.0.2.25 /24 gw 192.0.2.1 on request;192.0.2.29-192.0.2.29 /24 gw 192.0.2.1 on request;");
  CHECK(both("192.0.2.20-192.0.2.20", R"("192.0.2.20")") == "192.0.2.20-192.0.2.20 /24 gw 192.0.2.1 on request;");
}

TEST_CASE("ipam config: block mode") {
  CHECK(pools_of(parse(R"({"block": 30, "subnet": "169.254.100.0/22"})")) == "169.254.100.2-169.254.103.254 /30 by 4;");
  CHECK(parse(R"({"block": 30, "subnet": "169.254.100.0/30"})")->store.blocks);
  CHECK(error_of(R"({"block": 29, "subnet": "169.254.100.0/22"})") ==
        R"("ipam": "block": 29 is not a known block size; allowed: 30)");
  CHECK(error_of(R"({"block": 30, "subnet": "169.254.100.0/31"})") ==
        R"("ipam": "subnet": "169.254.100.0/31" has no /30 blocks)");
  CHECK(error_of(R"({"block": 30, "subnet": "2001:db8::/64"})").find("has no /30 blocks") != std::string::npos);
  CHECK(error_of(R"({"block": 30, "gateway": "192.0.2.1/24"})") ==
        R"("ipam": "block": needs "subnet", and no other key that chooses addresses)");
}

TEST_CASE("ipam config: errors name key and value") {
  CHECK(error_of(R"({"type": "slicer-ipam"})") == R"("ipam": "subnet": missing)");
  CHECK(error_of(R"({"subnet": "192.0.2.7/24"})") == R"("ipam": "subnet": "192.0.2.7/24" has host bits set)");
  CHECK(error_of(R"({"subnet": "192.0.2.0/31"})") ==
        R"("ipam": "subnet": "192.0.2.0/31" is too small to give addresses from)");
  CHECK(error_of(R"({"subnet": "192.0.2.0/24", "gateway": "198.51.100.1"})") ==
        R"("ipam": "gateway": "198.51.100.1" is not in "subnet" 192.0.2.0/24)");
  CHECK(error_of(R"({"subnet": "192.0.2.0/24", "rangeStart": "198.51.100.1"})") ==
        R"("ipam": "rangeStart": "198.51.100.1" is not in 192.0.2.0/24)");
  CHECK(error_of(R"({"subnet": "192.0.2.0/24", "rangeEnd": "198.51.100.1"})") ==
        R"("ipam": "rangeEnd": "198.51.100.1" is not in 192.0.2.0/24)");
  CHECK(error_of(R"({"subnet": "192.0.2.0/24", "rangeStart": "192.0.2.9", "rangeEnd": "192.0.2.8"})") ==
        R"("ipam": "rangeEnd": "192.0.2.8" leaves nothing in 192.0.2.9-192.0.2.8)");
  CHECK(error_of(R"({"range": "192.0.2.1-192.0.2.9"})") ==
        R"("ipam": "range": "192.0.2.1-192.0.2.9" has no prefix length)");
  CHECK(error_of(R"({"subnet": "192.0.2.0/24", "range": "192.0.3.1-192.0.3.9"})") ==
        R"("ipam": "range": "192.0.3.1-192.0.3.9" is not in 192.0.2.0/24)");
  CHECK(error_of(R"({"addresses": ["192.0.2.1"]})") == R"("ipam": "addresses[0]": "192.0.2.1" has no prefix length)");
  CHECK(error_of(R"({"gateway": "192.0.2.1/24", "addresses": ["192.0.2.2", "192.0.2.1"]})") ==
        R"("ipam": "addresses[1]": "192.0.2.1" is the gateway's address)");
  CHECK(error_of(R"({"gateway": "192.0.2.1/24", "addresses": ["192.0.2.255"]})") ==
        R"("ipam": "addresses[0]": "192.0.2.255" is the network or broadcast address of 192.0.2.0/24)");
  CHECK(error_of(R"({"gateway": "192.0.2.1/24", "addresses": ["192.0.2.2", "192.0.2.2"]})") ==
        R"("ipam": 192.0.2.2-192.0.2.2 and 192.0.2.2-192.0.2.2 overlap)");
  CHECK(error_of(R"({"gateway": "192.0.2.1"})") ==
        R"("ipam": "gateway": "192.0.2.1" has no prefix length, and there is no "subnet")");
  CHECK(error_of(R"({"subnet": "::ffff:192.0.2.0/120"})").find("IPv4 address in IPv6's clothes") != std::string::npos);
}

TEST_CASE("ipam config: errors in ranges say where") {
  CHECK(error_of(R"({"ranges": [[{"subnet": "192.0.2.0/24"}], [{"subnet": "bad"}]]})")
            .starts_with(R"("ranges"[1]: [0]: "subnet": )"));
  CHECK(error_of(R"({"ranges": [[]]})") == R"("ranges"[0]: an empty set of ranges)");
  CHECK(error_of(R"({"ranges": [{"subnet": "192.0.2.0/24"}]})") == R"("ranges"[0]: expected a list of ranges)");
  CHECK(error_of(R"({"ranges": [[{"subnet": "192.0.2.0/24"}, {"subnet": "2001:db8::/64"}]]})")
            .find("IPv4 and IPv6 in one set") != std::string::npos);
  CHECK(error_of(R"({"ranges": [[{"subnet": "192.0.2.0/24"}], [{"subnet": "192.0.2.128/25"}]]})") ==
        R"("ranges": 192.0.2.1-192.0.2.254 of set 0 and 192.0.2.129-192.0.2.254 of set 1 overlap)");
  CHECK(error_of(R"({"subnet": 5})") == R"("ipam": "subnet": expected a string, got 5)");
  CHECK(error_of(R"({"subnet": "192.0.2.0/24", "routes": [{"gw": "192.0.2.1"}]})").starts_with(R"("routes"[0]: )"));
}

TEST_CASE("ipam config: CNI before 0.3.0 has one address of a family") {
  const std::string two = R"({"ranges": [[{"subnet": "192.0.2.0/24"}], [{"subnet": "198.51.100.0/24"}]]})";
  CHECK(parse(two, "{}", "", "0.3.0"));
  CHECK_FALSE(parse(two, "{}", "", "0.2.0"));
  CHECK(parse(R"({"ranges": [[{"subnet": "192.0.2.0/24"}], [{"subnet": "2001:db8::/64"}]]})", "{}", "", "0.2.0"));
}

TEST_CASE("ipam config: requested addresses are a union of all three ways") {
  const auto config = parse(R"({"subnet": "192.0.2.0/24"})",
                            R"({"args": {"cni": {"ips": ["192.0.2.3", "192.0.2.2/24"]}},
                                "runtimeConfig": {"ips": ["192.0.2.4/24", "2001:db8::1"]}})",
                            "192.0.2.2");
  REQUIRE(config);
  CHECK(config->requested == std::vector{ip("192.0.2.2"), ip("192.0.2.3"), ip("192.0.2.4"), ip("2001:db8::1")});
  CHECK(parse(R"({"subnet": "192.0.2.0/24"})", "{}", "nonsense").error().kind == Kind::kInvalidEnvironment);
  CHECK(error_of(R"({"subnet": "192.0.2.0/24"})", R"({"runtimeConfig": {"ips": ["x"]}})")
            .starts_with(R"("runtimeConfig"."ips": )"));
}

TEST_CASE("ipam config: dataDir, resolvConf, routes") {
  const auto config = parse(R"({"subnet": "192.0.2.0/24", "dataDir": "/run/cni", "resolvConf": "/etc/resolv.conf",
                                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "198.51.100.0/24", "gw": "192.0.2.9"}]})");
  REQUIRE(config);
  CHECK(config->store.data_dir == "/run/cni");
  CHECK(config->resolv_conf == "/etc/resolv.conf");
  REQUIRE(config->routes.size() == 2);
  CHECK(config->routes[1].gw == ip("192.0.2.9"));
  CHECK(parse(R"({"subnet": "192.0.2.0/24", "dataDir": ""})")->store.data_dir == "/var/lib/cni/networks");
}
