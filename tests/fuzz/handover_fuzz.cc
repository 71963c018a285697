// A result that slicer-tap gets from the plugins before it, and what it makes of it.

#include "lib/cni/result_versions.h"
#include "plugins/tap/handover.h"
#include "tests/fuzz/expect.h"

namespace cni = slicer::cni;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const slicer::Result<cni::Json> json = cni::parse_json(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!json) return 0;
  const slicer::Result<cni::CniResult> before = cni::parse_result(*json, "1.1.0");
  if (!before) return 0;
  const cni::Environment call{.container_id = "vm-1", .netns = "/run/netns/vm", .ifname = "eth0"};
  const slicer::tap::GuestPair pair{
      .tap = "tap0", .tap_mac = "02:00:5e:00:53:01", .guest_mac = "02:00:5e:00:53:02", .mtu_bytes = 1500};
  const cni::CniResult after = slicer::tap::hand_over(*before, call, pair);
  // The pair is there, everything else is as it was, and whoever is told of an address finds its interface.
  EXPECT(cni::find_guest_interface(after, "vm-1").has_value());
  EXPECT(after.interfaces.size() == before->interfaces.size() + 2);
  for (size_t i = 0; i < before->interfaces.size(); ++i) EXPECT(after.interfaces[i] == before->interfaces[i]);
  EXPECT(after.ips.size() == before->ips.size());
  for (size_t i = 0; i < after.ips.size(); ++i) {
    EXPECT(after.ips[i].address == before->ips[i].address);
    EXPECT(after.ips[i].interface && static_cast<size_t>(*after.ips[i].interface) < after.interfaces.size());
  }
  EXPECT(after.routes == before->routes && after.dns == before->dns);
  EXPECT(cni::parse_result(cni::result_json(after, "1.1.0").value()).value() == after);
  return 0;
}
