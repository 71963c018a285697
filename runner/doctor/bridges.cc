// Bridges that lead to a LAN by a port of their own, past the lists of slicer-firewall, and those of several networks.

#include <fmt/format.h>

#include <algorithm>

#include "lib/net/bridge_port.h"
#include "lib/net/link.h"
#include "lib/net/sysctl.h"
#include "lib/netfilter/shared_bridge.h"
#include "runner/doctor/checks.h"

namespace slicer::runner::doctor {
namespace {

constexpr const char* kCheck = "bridge";
constexpr const char* kShared = "shared";

/// Whether slicer-firewall closes anything on the network.
bool has_lists(const chain::Conflist& network) {
  const auto has = [](const cni::Json& conf, const char* key) {
    const auto found = conf.find(key);
    return found != conf.end() && found->is_array() && !found->empty();
  };
  return std::ranges::any_of(network.plugins, [&](const chain::PluginConf& plugin) {
    return plugin.type == "slicer-firewall" &&
           (has(plugin.raw, "drop") || has(plugin.raw, "allow") || plugin.raw.value("default", cni::Json()) == "drop");
  });
}

/// VMs and containers are on TAPs and veth pairs; what else is a port leads elsewhere.
Result<std::string> find_lan_port(const std::string& bridge) {
  net::RouteSocket host = TRY(net::RouteSocket::open());
  const std::optional<int> index = TRY(net::find_link_index(host, bridge));
  if (!index) return std::string();
  for (const int port : TRY(net::list_ports(host, *index))) {
    const std::optional<net::Link> link = TRY(net::find_link(host, port));
    if (link && link->kind != "tun" && link->kind != "veth") return link->name;
  }
  return std::string();
}

/// Without br_netfilter there are no such keys, and no frame of a bridge meets a filter.
bool passes_filter(const char* key) {
  return net::read_sysctl(nullptr, std::string("net/bridge/bridge-nf-call-") + key).value_or("0") == "1";
}

}  // namespace

void check_lan_ports(const std::vector<CheckedNetwork>& networks, Findings& findings) {
  bool any = false;
  for (const CheckedNetwork& checked : networks) {
    if (!checked.bridge_exists || !has_lists(checked.network)) continue;
    const Result<std::string> port = find_lan_port(checked.facts.bridge);
    if (!port) {
      findings.fail(kCheck, port.error().message, port.error().hint);
      continue;
    }
    if (port->empty() || (passes_filter("iptables") && passes_filter("ip6tables"))) continue;
    any = true;
    findings.warn(kCheck,
                  fmt::format("bridge '{}' of network '{}' has the port '{}': frames between it and a VM pass no lists",
                              checked.facts.bridge, checked.network.name, *port),
                  "take it out of the bridge, or modprobe br_netfilter and sysctl -w "
                  "net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1");
  }
  if (!any) findings.ok(kCheck, "no way past the lists by a port of a bridge");
}

void check_shared_bridges(Findings& findings) {
  const Result<std::vector<netfilter::SharedBridge>> shared = netfilter::find_shared_bridges();
  if (!shared) return findings.fail(kShared, shared.error().message, shared.error().hint);
  for (const netfilter::SharedBridge& one : *shared)
    findings.warn(kShared, one.text(), netfilter::SharedBridge::remedy());
  if (shared->empty()) findings.ok(kShared, "no bridge has networks with different lists");
}

}  // namespace slicer::runner::doctor
