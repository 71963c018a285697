#include "plugins/tap/handover.h"

#include <doctest/doctest.h>

#include "lib/cni/result_versions.h"

using namespace slicer;
using cni::CniResult;
using cni::Json;

namespace {

const cni::Environment kCall{.container_id = "vm-1", .netns = "/run/netns/vm", .ifname = "eth0"};
const tap::GuestPair kPair{
    .tap = "tap0", .tap_mac = "02:00:5e:00:53:01", .guest_mac = "02:00:5e:00:53:02", .mtu_bytes = 1400};

CniResult result_of(const char* json) { return cni::parse_result(Json::parse(json), "1.0.0").value(); }

/// The interface index of every address, -1: none.
std::vector<int> owners(const CniResult& result) {
  std::vector<int> list;
  for (const cni::IpConfig& ip : result.ips) list.push_back(ip.interface.value_or(-1));
  return list;
}

}  // namespace

TEST_CASE("handover: ptp's result: the container's addresses are the guest's, all else stays") {
  const CniResult before = result_of(R"({"cniVersion": "1.0.0",
    "interfaces": [{"name": "veth1"}, {"name": "eth0", "mac": "02:00:5e:00:53:02", "sandbox": "/run/netns/vm"}],
    "ips": [{"address": "192.0.2.2/24", "gateway": "192.0.2.1", "interface": 1},
            {"address": "2001:db8::2/64", "interface": 1}],
    "routes": [{"dst": "0.0.0.0/0"}], "dns": {"nameservers": ["192.0.2.53"]}})");
  const CniResult after = tap::hand_over(before, kCall, kPair);
  REQUIRE(after.interfaces.size() == 4);
  CHECK(after.interfaces[0] == before.interfaces[0]);
  CHECK(after.interfaces[1] == before.interfaces[1]);
  CHECK(after.interfaces[2] ==
        cni::Interface{.name = "tap0", .mac = "02:00:5e:00:53:01", .mtu = 1400, .sandbox = "/run/netns/vm"});
  CHECK(after.interfaces[3] ==
        cni::Interface{.name = "tap0", .mac = "02:00:5e:00:53:02", .mtu = 1400, .sandbox = "vm-1"});
  CHECK(owners(after) == std::vector<int>{3, 3});
  CHECK(after.ips[0].gateway == before.ips[0].gateway);
  CHECK(after.routes == before.routes);
  CHECK(after.dns == before.dns);
  const auto pair = cni::find_guest_interface(after, "vm-1");
  REQUIRE(pair.has_value());
  CHECK(pair->tap == 2);
  CHECK(pair->guest == 3);
  CHECK(tap::guest_addresses(after, 3).size() == 2);
}

TEST_CASE("handover: addresses of other interfaces stay theirs") {
  const CniResult after = tap::hand_over(result_of(R"({"cniVersion": "1.0.0",
    "interfaces": [{"name": "eth0"}, {"name": "eth0", "sandbox": "/run/netns/vm"}, {"name": "net1", "sandbox": "/run/netns/vm"}],
    "ips": [{"address": "192.0.2.1/24", "interface": 0}, {"address": "192.0.2.2/24", "interface": 1},
            {"address": "192.0.2.3/24", "interface": 2}, {"address": "192.0.2.4/24"}]})"),
                                         kCall, kPair);
  CHECK(owners(after) == std::vector<int>{0, 4, 2, 4});
  CHECK(tap::guest_addresses(after, 4).size() == 2);
}

TEST_CASE("handover: a plugin that writes another sandbox, or none, is understood") {
  const auto owner_of = [](const char* sandbox) {
    const std::string json = std::string(R"({"cniVersion": "1.0.0", "interfaces": [{"name": "eth0")") + sandbox +
                             R"(}], "ips": [{"address": "192.0.2.2/24", "interface": 0}]})";
    return owners(tap::hand_over(result_of(json.c_str()), kCall, kPair));
  };
  CHECK(owner_of(R"(, "sandbox": "/var/run/netns/vm")") == std::vector<int>{2});
  CHECK(owner_of("") == std::vector<int>{2});
}

TEST_CASE("handover: a result of an old version has addresses without interfaces") {
  const CniResult old =
      cni::parse_result(
          Json::parse(R"({"cniVersion": "0.2.0", "ip4": {"ip": "192.0.2.2/24", "gateway": "192.0.2.1"}})"))
          .value();
  const CniResult after = tap::hand_over(old, kCall, kPair);
  CHECK(owners(after) == std::vector<int>{1});
  CHECK(after.interfaces.size() == 2);
}
