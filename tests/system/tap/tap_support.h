#pragma once
// What the tests of slicer-tap share: it follows the container's interface that slicer-bridge makes ("device": "veth").

#include <string>

#include "tests/system/fixture/guest.h"
#include "tests/system/fixture/host.h"
#include "tests/system/fixture/plugin.h"
#include "tests/system/fixture/snapshot.h"

namespace slicer::test::tap {

inline constexpr const char* kPlugin = "slicer-tap";
inline constexpr const char* kMain = "slicer-bridge";

inline Json tap_conf(const std::string& name = "demo") {
  return {{"cniVersion", "1.1.0"}, {"name", name}, {"type", kPlugin}};
}

/// The plugin before it: a container's interface with addresses of both families.
inline Json main_conf(const std::string& name = "demo") {
  return {{"cniVersion", "1.1.0"},
          {"name", name},
          {"type", kMain},
          {"device", "veth"},
          {"bridge", "slicer0"},
          {"isGateway", true},
          {"ipMasq", true},
          {"ipam",
           {{"type", "slicer-ipam"},
            {"ranges", {{{{"subnet", "192.0.2.0/24"}}}, {{{"subnet", "2001:db8:1::/64"}}}}},
            {"routes", {{{"dst", "0.0.0.0/0"}}, {{"dst", "::/0"}}}}}}};
}

inline Call call_in(const std::string& command, const Netns& netns, const std::string& id = "vm-1",
                    const std::string& args = "") {
  return {.command = command, .container_id = id, .netns = netns.path(), .ifname = "eth0", .args = args};
}

inline Answer call(const Json& conf, const Call& how) { return call_plugin(kPlugin, conf, how); }

inline Json must_add(const std::string& plugin, const Json& conf, const Call& how) {
  Answer answer = call_plugin(plugin, conf, how);
  if (!answer.ok()) give_up("ADD " + how.container_id + " by " + plugin + ": " + answer.text());
  return std::move(answer.json);
}
inline void must_del(const std::string& plugin, const Json& conf, Call how) {
  how.command = "DEL";
  const Answer answer = call_plugin(plugin, conf, how);
  if (!answer.ok()) give_up("DEL " + how.container_id + " by " + plugin + ": " + answer.text());
}

/// A container's interface eth0, made by the plugin before slicer-tap.
struct Container {
  explicit Container(const std::string& id = "vm-1")
      : box(id + "-box"), how(call_in("ADD", box, id)), result(must_add(kMain, main_conf(), how)) {}
  /// slicer-tap's configuration, with what the plugin before it gave.
  [[nodiscard]] Json conf() const { return with(tap_conf(), "prevResult", result); }
  [[nodiscard]] Call call(const std::string& command, const std::string& args = "") const {
    return call_in(command, box, how.container_id, args);
  }
  [[nodiscard]] Json add(const Json& conf, const std::string& args = "") const {
    return must_add(kPlugin, conf, call("ADD", args));
  }

  Netns box;
  Call how;
  Json result;
};

/// {"tap0", …} of a result: the TAP's entry, whose twin has the container ID as its sandbox.
inline Json tap_entry(const Json& result, const std::string& container_id) {
  const Json guest = guest_entry(result, container_id);
  for (const Json& entry : result["interfaces"])
    if (entry["name"] == guest["name"] && entry.value("sandbox", "") != container_id) return entry;
  return nullptr;
}

}  // namespace slicer::test::tap
