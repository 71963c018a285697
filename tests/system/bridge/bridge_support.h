#pragma once
// What the tests of slicer-bridge share.

#include <string>

#include "tests/system/fixture/guest.h"
#include "tests/system/fixture/host.h"
#include "tests/system/fixture/plugin.h"
#include "tests/system/fixture/snapshot.h"

namespace slicer::test::bridge {

inline constexpr const char* kPlugin = "slicer-bridge";

/// A gateway network with masquerade and one range: "demo" on slicer0, 192.0.2.0/24.
inline Json demo_conf() {
  return {{"cniVersion", "1.1.0"},
          {"name", "demo"},
          {"type", kPlugin},
          {"bridge", "slicer0"},
          {"isGateway", true},
          {"ipMasq", true},
          {"ipam", {{"type", "slicer-ipam"}, {"subnet", "192.0.2.0/24"}, {"routes", {{{"dst", "0.0.0.0/0"}}}}}}};
}

/// The same with an IPv6 range beside it.
inline Json dual_conf() {
  Json conf = demo_conf();
  conf["ipam"].erase("subnet");
  conf["ipam"]["ranges"] = {{{{"subnet", "192.0.2.0/24"}}}, {{{"subnet", "2001:db8:1::/64"}}}};
  conf["ipam"]["routes"].push_back({{"dst", "::/0"}});
  return conf;
}

/// A call in the host's own namespace.
inline Call host_call(const std::string& command, const std::string& id = "vm-1",
                      const std::string& ifname = "vmtap0") {
  return {.command = command, .container_id = id, .netns = Host::netns(), .ifname = ifname};
}

/// A call in a private one.
inline Call private_call(const std::string& command, const Netns& netns, const std::string& id = "vm-1",
                         const std::string& ifname = "tap0") {
  return {.command = command, .container_id = id, .netns = netns.path(), .ifname = ifname};
}

inline Answer call(const Json& conf, const Call& how) { return call_plugin(kPlugin, conf, how); }

/// ADD that must work.
inline Json add(const Json& conf, const Call& how) {
  Answer answer = call(conf, how);
  if (!answer.ok()) give_up("ADD " + how.container_id + ": " + answer.text());
  return std::move(answer.json);
}

/// What a ping from the host begins with: a request for the guest's MAC, or, when that is known, the echo at once.
inline bool is_arp_or_echo(const Bytes& frame) {
  const bool arp = frame[12] == 0x08 && frame[13] == 0x06;
  return arp || (frame.size() > 34 && frame[12] == 0x08 && frame[13] == 0x00 && frame[23] == 1);
}

/// The network's own objects (bridge, gateway, rules) made and the attachment gone again: where comparisons begin.
inline std::string settled_snapshot(const Json& conf, Call how, const SnapshotOptions& options = {}) {
  how.command = "ADD";
  (void)add(conf, how);
  how.command = "DEL";
  const Answer gone = call(conf, how);
  if (!gone.ok()) give_up("DEL: " + gone.text());
  return snapshot(options);
}

}  // namespace slicer::test::bridge
