#pragma once
// What the tests of slicer-macvtap share. The host's interface on the LAN is lan0 (fixture/host.h, Surroundings).

#include <string>

#include "tests/system/fixture/guest.h"
#include "tests/system/fixture/host.h"
#include "tests/system/fixture/plugin.h"
#include "tests/system/fixture/snapshot.h"

namespace slicer::test::macvtap {

inline constexpr const char* kPlugin = "slicer-macvtap";

/// A network whose guests ask the LAN's DHCP server.
inline Json dhcp_conf(const std::string& name = "lan") {
  return {{"cniVersion", "1.1.0"}, {"name", name}, {"type", kPlugin}, {"parent", "lan0"}};
}

/// A network with addresses of the LAN's subnet: 198.51.100.220-254.
inline Json static_conf(const std::string& name = "lan") {
  Json conf = dhcp_conf(name);
  conf["ipam"] = {{"type", "slicer-ipam"}, {"gateway", "198.51.100.1/24"}};
  return conf;
}

/// Without the question whether the address is free.
inline Json quick_conf(const std::string& name = "lan") { return with(static_conf(name), "probe", false); }

inline Call call_in(const std::string& command, const Netns& netns, const std::string& id = "vm-1") {
  return {.command = command, .container_id = id, .netns = netns.path(), .ifname = "tap0"};
}

inline Answer call(const Json& conf, const Call& how) { return call_plugin(kPlugin, conf, how); }

/// ADD that must work.
inline Json add(const Json& conf, const Call& how) {
  Answer answer = call(conf, how);
  if (!answer.ok()) give_up("ADD " + how.container_id + ": " + answer.text());
  return std::move(answer.json);
}

/// DEL that must work.
inline void del(const Json& conf, Call how) {
  how.command = "DEL";
  const Answer answer = call(conf, how);
  if (!answer.ok()) give_up("DEL " + how.container_id + ": " + answer.text());
}

/// A VM with a whole IP stack.
struct Vm {
  explicit Vm(const Json& conf, const std::string& id = "vm-1")
      : box(id + "-box"),
        how(call_in("ADD", box, id)),
        result(add(conf, how)),
        guest(Guest::from_result(result, how, id)) {}
  [[nodiscard]] std::string ip() const { return ip_of(result, 4); }
  [[nodiscard]] bool pings(const std::string& to, int seconds = 5) const {
    return slicer::test::pings(guest.netns(), to, seconds);
  }

  Netns box;
  Call how;
  Json result;
  Guest guest;
};

}  // namespace slicer::test::macvtap
