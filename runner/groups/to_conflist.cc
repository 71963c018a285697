#include "runner/groups/to_conflist.h"

#include <fmt/format.h>

#include <algorithm>

#include "runner/hypervisor/kinds.h"

namespace slicer::runner {
namespace {

using cni::Json;

void add_dns(const HostGroup& group, Json& plugin) {
  if (!group.dns_servers.empty()) plugin["dns"] = {{"nameservers", group.dns_servers}};
}

// A LAN's addresses are mostly another's to give: there the gateway alone means a small pool at the subnet's end.
// Beside a range, slicer-ipam keeps the list for who asks for its addresses (group_capabilities()).
Json ipam_json(const GroupNetwork& network) {
  const addr::Cidr& gateway = *network.gateway;
  Json ipam = {{"type", "slicer-ipam"}, {"subnet", gateway.network().text()}, {"gateway", gateway.ip.text()}};
  if (network.mode == NetworkMode::kMacvtap) ipam = {{"type", "slicer-ipam"}, {"gateway", gateway.text()}};
  if (network.range) ipam["range"] = network.range->text();
  for (const addr::Cidr& address : network.addresses) ipam["addresses"].push_back(address.text());
  const std::string everywhere = gateway.ip.is_v4() ? "0.0.0.0/0" : "::/0";
  ipam["routes"] = Json::array({{{"dst", everywhere}}});
  return ipam;
}

// A hypervisor that limits by itself is not to be limited twice.
void add_bandwidth(const HostGroup& group, Json& plugin) {
  const Result<const HypervisorKind*> kind = find_hypervisor_kind(group.hypervisor);
  if (group.bandwidth && !(kind && (*kind)->limits_rate)) plugin["capabilities"]["bandwidth"] = true;
}

Json bridge_json(const HostGroup& group) {
  Json plugin = {{"type", "slicer-bridge"},
                 {"bridge", group.network->bridge},
                 {"isGateway", true},
                 {"ipMasq", true},
                 {"capabilities", {{"ips", true}, {"mac", true}}},
                 {"ipam", ipam_json(*group.network)}};
  if (group.network->mtu_bytes != 0) plugin["mtu"] = group.network->mtu_bytes;
  add_dns(group, plugin);
  add_bandwidth(group, plugin);
  return plugin;
}

Json isolated_json(const HostGroup& group) {
  Json plugin = {{"type", "slicer-isolated"}, {"capabilities", {{"ips", true}, {"mac", true}}}};
  if (group.network->isolated_range) plugin["range"] = group.network->isolated_range->text();
  if (group.network->mtu_bytes != 0) plugin["mtu"] = group.network->mtu_bytes;
  add_dns(group, plugin);
  add_bandwidth(group, plugin);
  return plugin;
}

Json macvtap_json(const HostGroup& group) {
  Json plugin = {{"type", "slicer-macvtap"}, {"capabilities", {{"mac", true}}}};
  if (!group.network->parent.empty()) plugin["parent"] = group.network->parent;
  if (group.network->mtu_bytes != 0) plugin["mtu"] = group.network->mtu_bytes;
  add_bandwidth(group, plugin);
  if (group.network->uses_dhcp()) return plugin;
  plugin["capabilities"]["ips"] = true;
  plugin["ipam"] = ipam_json(*group.network);
  add_dns(group, plugin);
  return plugin;
}

Json firewall_json(const GroupNetwork& network) {
  Json plugin = {{"type", "slicer-firewall"}, {"capabilities", {{"policy", true}}}};
  if (!network.drop.empty()) plugin["drop"] = network.drop;
  if (!network.allow.empty()) plugin["allow"] = network.allow;
  if (!network.fallback.empty()) plugin["default"] = network.fallback;
  return plugin;
}

Result<void> check_list(const HostGroup& group, const char* key, size_t size, unsigned number) {
  if (number <= size) return {};
  return fail(Kind::kExhausted,
              fmt::format("host group '{}': \"{}\" has nothing for VM {}: there are {}", group.name, key, number, size),
              fmt::format("write more of \"{}\" in the group's file", key));
}

// The names are CNI's (CONVENTIONS.md).
Json bandwidth_json(const HostGroup& group) {
  Json json = Json::object();
  if (group.bandwidth->ingress_rate != 0) {
    json["ingressRate"] = group.bandwidth->ingress_rate;
    json["ingressBurst"] = group.bandwidth->ingress_burst;
  }
  if (group.bandwidth->egress_rate != 0) {
    json["egressRate"] = group.bandwidth->egress_rate;
    json["egressBurst"] = group.bandwidth->egress_burst;
  }
  return json;
}

// libcni's search: the first file that has the name wins, so a saved list would be used by others under this name.
Result<void> check_name_is_free(const std::string& name, const std::string& file, const std::string& conf_dir) {
  const chain::Listing listing = TRY(chain::list_networks(conf_dir));
  const auto taken = std::ranges::find(listing.networks, name, &chain::Conflist::name);
  if (taken == listing.networks.end()) return {};
  return fail(
      Kind::kExists, fmt::format("{}: host group \"{}\" has the name of the network in '{}'", file, name, taken->file),
      fmt::format("rename the group, or use that network: take \"network\" out and write network_name: {}", name));
}

}  // namespace

cni::Json group_conflist_json(const HostGroup& group) {
  Json list = {{"cniVersion", "1.0.0"},
               {"cniVersions", Json::array({"1.0.0", "1.1.0"})},
               {"name", group.name},
               {"disableGC", true},
               {"plugins", Json::array()}};
  if (group.network->mode == NetworkMode::kBridge) {
    list["netns"] = "host";
    list["tap_prefix"] = group.network->tap_prefix;
    list["plugins"].push_back(bridge_json(group));
    list["plugins"].push_back(firewall_json(*group.network));
    return list;
  }
  const bool isolated = group.network->mode == NetworkMode::kIsolated;
  list["plugins"].push_back(isolated ? isolated_json(group) : macvtap_json(group));
  // Without lists, too: it opens the host's other firewalls for an isolated VM, and takes lists of a single VM. A
  // macvtap's packets pass nothing of the host.
  if (isolated || group.network->has_policy()) list["plugins"].push_back(firewall_json(*group.network));
  return list;
}

Result<chain::Conflist> group_network(const HostGroup& group, const std::string& file, const std::string& conf_dir) {
  if (!group.network) return chain::load_network(conf_dir, group.network_name);
  TRY(check_name_is_free(group.name, file, conf_dir));
  const std::string text = cni::dump_json(group_conflist_json(group));
  chain::Conflist network = TRY(chain::parse_conflist(text, fmt::format("{} (group {})", file, group.name)));
  network.bytes = text;
  return network;
}

Result<cni::Json> group_capabilities(const HostGroup& group, unsigned number) {
  Json capabilities = Json::object();
  if (number != 0 && group.network && !group.network->addresses.empty()) {
    TRY(check_list(group, "addresses", group.network->numbered_vms(), number));
    if (number <= group.network->addresses.size())
      capabilities["ips"] = Json::array({group.network->addresses[number - 1].text()});
  }
  if (number != 0 && !group.macs.empty()) {
    TRY(check_list(group, "mac", group.macs.size(), number));
    capabilities["mac"] = group.macs[number - 1].text();
  }
  if (group.bandwidth) capabilities["bandwidth"] = bandwidth_json(group);
  return capabilities;
}

}  // namespace slicer::runner
