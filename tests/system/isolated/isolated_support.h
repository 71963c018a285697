#pragma once
// What the tests of slicer-isolated share.

#include <string>

#include "tests/system/fixture/guest.h"
#include "tests/system/fixture/host.h"
#include "tests/system/fixture/plugin.h"
#include "tests/system/fixture/snapshot.h"

namespace slicer::test::isolated {

inline constexpr const char* kPlugin = "slicer-isolated";

/// A network with a range of its own: 169.254.100.0/22. With the backend that the case runs for
/// (tests/system/CMakeLists.txt: BOTH_BACKENDS).
inline Json sandbox_conf(const std::string& name = "sandbox") {
  Json conf = {{"cniVersion", "1.1.0"}, {"name", name}, {"type", kPlugin}, {"range", "169.254.100.0/22"}};
  if (const char* backend = getenv("SLICER_BACKEND"); backend != nullptr) conf["backend"] = backend;
  return conf;
}

/// Whether the case runs for the iptables backend.
inline bool is_legacy() {
  const char* name = getenv("SLICER_BACKEND");
  return name != nullptr && std::string(name) == "iptables";
}

/// What the case cannot do without.
inline std::string missing_for_backend() {
  if (!is_legacy()) return {};
  const Outcome listed = run({"unshare", "-n", "iptables-legacy", "-t", "mangle", "-S"});
  if (listed.exit_code == 127) return "needs the program iptables-legacy";
  return listed.ok() ? "" : "this kernel has no legacy tables: " + listed.err;
}

/// Takes away all rules in a VM's namespace, or (empty) all of isolated networks on the host.
inline void drop_rules(const std::string& netns = {}) {
  if (!is_legacy())
    return (void)must(netns.empty() ? "nft delete table inet slicer" : "nft delete table inet slicer-vm", netns);
  for (const std::string program : {"iptables-legacy", "ip6tables-legacy"}) {
    (void)must(program + " -t mangle -F", netns);
    (void)must(program + " -t mangle -X", netns);
  }
}

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

/// The network's own rules made and the attachment gone again: where comparisons begin.
inline std::string settled_snapshot(const Json& conf, Call how, const SnapshotOptions& options = {}) {
  how.command = "ADD";
  (void)add(conf, how);
  del(conf, how);
  return snapshot(options);
}

/// A VM with a whole IP stack.
struct Vm {
  explicit Vm(const Json& conf, const std::string& id = "vm-1")
      : box(id + "-box"),
        how(call_in("ADD", box, id)),
        result(add(conf, how)),
        guest(Guest::from_result(result, how, id)) {}
  [[nodiscard]] std::string ip() const { return ip_of(result, 4); }
  [[nodiscard]] std::string gateway() const { return result["ips"][0]["gateway"]; }
  [[nodiscard]] bool pings(const std::string& to, int seconds = 5) const {
    return slicer::test::pings(guest.netns(), to, seconds);
  }

  Netns box;
  Call how;
  Json result;
  Guest guest;
};

}  // namespace slicer::test::isolated
