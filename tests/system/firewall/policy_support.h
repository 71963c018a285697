#pragma once
// Networks with drop and allow lists, and VMs on them with a real TCP/IP stack behind the TAP.

#include <memory>
#include <string>
#include <vector>

#include "tests/system/firewall/firewall_support.h"
#include "tests/system/firewall/iptables_support.h"
#include "tests/system/fixture/guest.h"
#include "tests/system/fixture/reach.h"

namespace slicer::test::firewall {

inline constexpr uint16_t kPort = 7777;
inline constexpr uint16_t kOtherPort = 8888;

/// slicer-bridge (TAP in the host's namespace) and slicer-firewall in one chain, dual-stack with masquerade, with the
/// backend that the case runs for.
struct Chain {
  Chain() {
    if (!is_legacy()) return;
    bridge["ipMasqBackend"] = "iptables";
    firewall["backend"] = "iptables";
  }

  Json bridge = {{"cniVersion", "1.1.0"},
                 {"name", "demo"},
                 {"type", "slicer-bridge"},
                 {"bridge", "slicer0"},
                 {"isGateway", true},
                 {"ipMasq", true},
                 {"ipam",
                  {{"type", "slicer-ipam"},
                   {"ranges", {{{{"subnet", "192.0.2.0/24"}}}, {{{"subnet", "2001:db8:2::/64"}}}}},
                   {"routes", {{{"dst", "0.0.0.0/0"}}, {{"dst", "::/0"}}}}}}};
  Json firewall = {{"cniVersion", "1.1.0"}, {"name", "demo"}, {"type", "slicer-firewall"}};
};

inline Answer call_firewall(const Chain& chain, const Json& result, Call how) {
  Json conf = chain.firewall;
  if (!result.is_null()) conf["prevResult"] = result;
  return call_plugin("slicer-firewall", conf, how);
}

/// ADD of the whole chain; gives up when it fails.
inline Json add_chain(const Chain& chain, const Call& how) {
  Answer bridged = call_plugin("slicer-bridge", chain.bridge, how);
  if (!bridged.ok()) give_up("ADD: " + bridged.text());
  const Answer filtered = call_firewall(chain, bridged.json, how);
  if (!filtered.ok()) give_up("ADD: " + filtered.text());
  return std::move(bridged.json);
}

inline void del_chain(const Chain& chain, const Json& result, Call how) {
  how.command = "DEL";
  Answer answer = call_firewall(chain, result, how);
  if (!answer.ok()) give_up("DEL: " + answer.text());
  Json conf = chain.bridge;
  if (!result.is_null()) conf["prevResult"] = result;
  answer = call_plugin("slicer-bridge", conf, how);
  if (!answer.ok()) give_up("DEL: " + answer.text());
}

/// A VM of the chain's network, vmtapN in the host's namespace.
class Vm {
 public:
  Vm(const Chain& chain, int number)
      : call{.command = "ADD",
             .container_id = "vm-" + std::to_string(number),
             .netns = Host::netns(),
             .ifname = "vmtap" + std::to_string(number)},
        result(add_chain(chain, call)),
        guest(Guest::from_result(result, call, "guest-" + std::to_string(number))) {}

  [[nodiscard]] std::string netns() const { return guest.netns(); }
  [[nodiscard]] std::string ip() const { return ip_of(result, 4); }
  [[nodiscard]] std::string ip6() const { return ip_of(result, 6); }

  Call call;
  Json result;
  Guest guest;
};

inline Json list_of(const std::vector<std::string>& entries) {
  Json list = Json::array();
  for (const std::string& entry : entries) list.push_back(entry);
  return list;
}

/// The lists changed as an operator changes them: the conflist is edited, and the next ADD (here: one for a VM that is
/// there already, which is what a reload does) puts them in force.
inline void reload(const Chain& chain, const Vm& vm) {
  const Answer answer = call_firewall(chain, vm.result, vm.call);
  if (!answer.ok()) give_up("reload: " + answer.text());
}

}  // namespace slicer::test::firewall
