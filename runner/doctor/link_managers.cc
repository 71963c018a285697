// Programs that configure every link they see: they take addresses and routes from ours.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "lib/cni/attachment.h"
#include "runner/chain/cache.h"
#include "runner/doctor/checks.h"
#include "runner/doctor/managed_links.h"

namespace slicer::runner::doctor {
namespace {

/// A link of each kind that the network will have on the host, and the pattern that covers all like it.
struct OwnLink {
  LinkIdentity link = {};
  std::string pattern = {};
};

std::vector<OwnLink> links_of(const CheckedNetwork& checked) {
  const cni::Attachment attachment{.network = checked.network.name, .container_id = "vm", .ifname = "tap0"};
  std::vector<OwnLink> links;
  if (!checked.facts.bridge.empty())
    links.push_back({{.name = checked.facts.bridge, .kind = "bridge"}, checked.facts.bridge});
  if (checked.network.host_netns)
    links.push_back({{.name = checked.network.tap_prefix + "0", .kind = "tun"}, checked.network.tap_prefix + "*"});
  if (checked.facts.main_plugin.starts_with("slicer-"))
    links.push_back({{.name = attachment.kernel_name('v'), .kind = "veth"}, "sl*"});
  return links;
}

/// Host groups have their networks in memory: those that have VMs are in libcni's cache.
void add_attached(const Settings& settings, std::vector<CheckedNetwork>& networks) {
  const auto entries = chain::Cache(settings.cache_dir).list();
  if (!entries) return;  // the attachments' own check says so
  for (const chain::CacheEntry& entry : *entries) {
    if (std::ranges::any_of(networks, [&](const auto& each) { return each.network.name == entry.key.network; }))
      continue;
    Result<chain::Conflist> network = chain::parse_conflist(entry.config, entry.key.network);
    if (!network) continue;
    if (Result<NetworkFacts> facts = read_facts(*network))
      networks.push_back({.network = std::move(*network), .facts = std::move(*facts)});
  }
}

void check_networkd(const std::vector<CheckedNetwork>& networks, Findings& findings) {
  if (!networkd_in_use("")) return findings.ok("networkd", "systemd-networkd is not in use");
  const std::vector<NetworkFile> files = read_network_files("");
  bool good = true;
  for (const CheckedNetwork& checked : networks)
    for (const OwnLink& own : links_of(checked)) {
      const auto file = taken_by(files, own.link);
      if (!file) continue;
      good = false;
      findings.fail(
          "networkd",
          fmt::format("systemd-networkd takes {} of network '{}' over, by '{}': addresses and routes get lost",
                      own.pattern, checked.network.name, file->path),
          fmt::format("name it in /etc/systemd/network/00-slicer.network ([Match] Name={} / [Link] Unmanaged=yes); "
                      "then networkctl reload",
                      own.pattern));
    }
  if (good) findings.ok("networkd", "systemd-networkd leaves our links alone");
}

void check_network_manager(const std::vector<CheckedNetwork>& networks, Findings& findings) {
  if (!network_manager_in_use("")) return findings.ok("networkmanager", "NetworkManager does not run");
  const std::vector<std::string> patterns = unmanaged_devices("");
  bool good = true;
  for (const CheckedNetwork& checked : networks)
    for (const OwnLink& own : links_of(checked)) {
      if (is_unmanaged(patterns, own.link)) continue;
      good = false;
      findings.warn("networkmanager",
                    fmt::format("NetworkManager may take {} of network '{}' over", own.pattern, checked.network.name),
                    fmt::format("name it in /etc/NetworkManager/conf.d/90-slicer.conf ([keyfile] / "
                                "unmanaged-devices+=interface-name:{}); then nmcli general reload",
                                own.pattern));
    }
  if (good) findings.ok("networkmanager", "NetworkManager leaves our links alone");
}

}  // namespace

void check_link_managers(const Settings& settings, std::vector<CheckedNetwork> networks, Findings& findings) {
  add_attached(settings, networks);
  check_networkd(networks, findings);
  check_network_manager(networks, findings);
}

}  // namespace slicer::runner::doctor
