// Forwarding, and the firewalls that other programs keep on the way.

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "lib/net/route.h"
#include "lib/net/sysctl.h"
#include "lib/netfilter/foreign.h"
#include "lib/netfilter/ruleset.h"
#include "runner/doctor/checks.h"

namespace slicer::runner::doctor {
namespace {

namespace fs = std::filesystem;

bool has_family(const CheckedNetwork& checked, addr::Family family) {
  return checked.facts.pool && std::ranges::any_of(checked.facts.pool->subnets,
                                                   [&](const addr::Cidr& subnet) { return subnet.family() == family; });
}

void check_family(const std::vector<CheckedNetwork>& networks, addr::Family family, Findings& findings) {
  const char* key = family == addr::Family::kIpv4 ? "net.ipv4.ip_forward" : "net.ipv6.conf.all.forwarding";
  const auto routed = [&](const CheckedNetwork& checked) {
    return checked.facts.is_gateway && has_family(checked, family);
  };
  const auto standing = [&](const CheckedNetwork& checked) { return routed(checked) && checked.bridge_exists; };
  if (std::ranges::none_of(networks, routed)) return;
  const Result<bool> on = net::is_forwarding(family);
  if (!on) return findings.fail("forwarding", on.error().message, on.error().hint);
  if (*on) return findings.ok("forwarding", fmt::format("{} is on", key));
  const auto first = std::ranges::find_if(networks, standing);
  if (first == networks.end())
    return findings.ok("forwarding", fmt::format("{} is off; the first VM of a network switches it on", key));
  findings.fail("forwarding",
                fmt::format("{} is off: VMs of network '{}' reach the host only", key, first->network.name),
                fmt::format("sysctl -w {}=1, and find out who switched it off (/etc/sysctl.d, a firewall)", key));
}

/// A forwarding host takes no router advertisements on links with accept_ra=1 (Documentation/networking/ip-sysctl).
void check_router_advertisements(Findings& findings) {
  const Result<bool> forwarding = net::is_forwarding(addr::Family::kIpv6);
  if (!forwarding || !*forwarding) return;
  Result<net::RouteSocket> session = net::RouteSocket::open();
  if (!session) return;
  const auto route = net::find_default_route(*session, addr::Family::kIpv6);
  if (!route || *route) return;  // it has one, so all is well
  std::error_code failure;
  fs::directory_iterator links("/proc/sys/net/ipv6/conf", failure);
  for (; !failure && links != fs::directory_iterator(); links.increment(failure)) {
    const std::string link = links->path().filename();
    if (link == "all" || link == "default" || link == "lo" || link.starts_with("sl")) continue;
    if (net::read_sysctl(nullptr, "net/ipv6/conf/" + link + "/accept_ra").value_or("") != "1") continue;
    if (!fs::exists("/sys/class/net/" + link + "/device", failure)) continue;  // not a way to a router
    findings.warn(
        "accept_ra", fmt::format("{} ignores router advertisements while IPv6 forwarding is on", link),
        fmt::format("where the IPv6 route comes from advertisements: sysctl -w net.ipv6.conf.{}.accept_ra=2", link));
  }
}

bool is_opened(const netfilter::ForeignFirewall& firewall, const std::string& network) {
  const std::string mark = netfilter::network_mark(network);
  return std::ranges::find(firewall.opened, mark) != firewall.opened.end();
}

void check_network_behind(const netfilter::ForeignFirewall& firewall, const CheckedNetwork& checked,
                          Findings& findings) {
  const std::string where = fmt::format("chain '{}' of table '{} {}' ({}) drops what is forwarded", firewall.chain,
                                        firewall.family, firewall.table, firewall.program);
  const std::string& name = checked.network.name;
  if (firewall.opening_chain.empty())
    return findings.warn("firewall", fmt::format("{}: VMs of network '{}' may reach the host only", where, name),
                         firewall.remedy);
  if (is_opened(firewall, name))
    return findings.ok("firewall", fmt::format("{}, but lets network '{}' through", where, name));
  if (checked.facts.firewall != "slicer-firewall")
    return findings.warn("firewall", fmt::format("{}, and network '{}' has no opening there", where, name),
                         "add {\"type\": \"slicer-firewall\"} to its plugins");
  if (checked.bridge_exists)
    return findings.fail("firewall", fmt::format("{}, and the opening of network '{}' is gone", where, name),
                         firewall.remedy);
  findings.ok("firewall", fmt::format("{}; the first VM of network '{}' gets its opening", where, name));
}

}  // namespace

void check_forwarding(const std::vector<CheckedNetwork>& networks, Findings& findings) {
  check_family(networks, addr::Family::kIpv4, findings);
  check_family(networks, addr::Family::kIpv6, findings);
  check_router_advertisements(findings);
}

void check_firewalls(const std::vector<CheckedNetwork>& networks, Findings& findings) {
  for (const std::string& table : netfilter::legacy_tables())
    findings.ok("firewall",
                fmt::format("other programs keep rules in table '{}' of the old iptables (iptables-legacy): "
                            "networks whose backend is \"auto\" go there, too",
                            table));
  const auto firewalls = netfilter::find_foreign_firewalls();
  if (!firewalls) return findings.warn("firewall", firewalls.error().message, "run doctor as root");
  for (const netfilter::ForeignFirewall& firewall : *firewalls) {
    const addr::Family family = firewall.family == "ip6" ? addr::Family::kIpv6 : addr::Family::kIpv4;
    for (const CheckedNetwork& checked : networks)
      if (firewall.family == "inet" || has_family(checked, family)) check_network_behind(firewall, checked, findings);
  }
  if (firewalls->empty()) findings.ok("firewall", "no other program drops forwarded traffic");
}

}  // namespace slicer::runner::doctor
