// The files of the configuration folder, and whether their plugins would work.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "lib/cni/delegate.h"
#include "lib/net/link.h"
#include "runner/chain/runtime.h"
#include "runner/doctor/checks.h"
#include "runner/doctor/known_keys.h"

namespace slicer::runner::doctor {
namespace {

using chain::Conflist;

// A stranger's program that does not know VERSION may wait for ever.
constexpr std::chrono::milliseconds kCallLimit = std::chrono::seconds(10);

/// The programs that a chain runs. Ours have slicer-ipam inside.
std::set<std::string> programs_of(const Conflist& network, const NetworkFacts& facts) {
  std::set<std::string> programs;
  for (const chain::PluginConf& plugin : network.plugins) programs.insert(plugin.type);
  const bool inside = facts.ipam == "slicer-ipam" && facts.main_plugin.starts_with("slicer-");
  if (!facts.ipam.empty() && !inside) programs.insert(facts.ipam);
  return programs;
}

bool check_program(const chain::Runtime& runtime, const Conflist& network, const std::string& program,
                   Findings& findings) {
  const Result<std::string> path = cni::find_plugin(program, runtime.settings().path);
  if (!path) {
    findings.fail("plugin", fmt::format("network '{}': {}", network.name, path.error().message),
                  "install it (our own: cmake --install), or name its folder in CNI_PATH");
    return false;
  }
  const Result<std::vector<std::string>> versions = runtime.versions(program);
  if (!versions) {
    findings.fail("plugin", fmt::format("network '{}': {}", network.name, versions.error().message),
                  fmt::format("install '{}' anew", *path));
    return false;
  }
  if (std::ranges::find(*versions, network.cni_version) != versions->end()) return true;
  findings.fail("plugin",
                fmt::format("network '{}': '{}' speaks {}, not the network's {}", network.name, *path,
                            fmt::join(*versions, ", "), network.cni_version),
                fmt::format("change \"cniVersion\"/\"cniVersions\" in '{}', or install a newer plugin", network.file));
  return false;
}

void check_status(const chain::Runtime& runtime, const Conflist& network, Findings& findings) {
  const Result<void> status = runtime.status(network);
  if (status) {
    findings.ok("network", fmt::format("network '{}' ({}): all plugins are there", network.name, network.file));
  } else {
    findings.fail("network", status.error().message, status.error().hint);
  }
}

bool bridge_exists(const std::string& bridge) {
  if (bridge.empty()) return false;
  Result<net::RouteSocket> session = net::RouteSocket::open();
  if (!session) return false;
  const auto link = net::find_link(*session, bridge);
  return link && *link;
}

void check_keys(const Conflist& network, Findings& findings) {
  for (const chain::PluginConf& plugin : network.plugins)
    for (const NearMiss& miss : near_misses(plugin.raw))
      findings.warn("conflist",
                    fmt::format("network '{}' ({}): {} does not know the key \"{}\" and ignores it", network.name,
                                network.file, plugin.type, miss.key),
                    fmt::format("\"{}\" was meant? Then write it so", miss.meant));
}

void check_folder(const Settings& settings, const chain::Listing& listing, Findings& findings) {
  for (const chain::Listing::Broken& broken : listing.broken)
    findings.fail("conflist", broken.error.message,
                  broken.error.hint.empty() ? "mend the file or move it away" : "mend the file: " + broken.error.hint);
  for (const Conflist& network : listing.shadowed)
    findings.warn("conflist",
                  fmt::format("'{}' is never used: an earlier file has the network '{}'", network.file, network.name),
                  "give it another \"name\", or remove one of the two");
  if (listing.networks.empty())
    findings.warn("conflist", "no network in '" + settings.conf_dir + "'",
                  "install 51-slicer.conflist there, or name another folder by --cni-conf-dir");
}

}  // namespace

std::vector<CheckedNetwork> check_networks(const Settings& settings, Findings& findings) {
  std::vector<CheckedNetwork> checked;
  const Result<chain::Listing> listing = chain::list_networks(settings.conf_dir);
  if (!listing) {
    findings.fail("conflist", listing.error().message, listing.error().hint);
    return checked;
  }
  check_folder(settings, *listing, findings);
  const chain::Runtime runtime({.path = settings.cni_path, .cache_dir = settings.cache_dir, .limit = kCallLimit});
  for (const Conflist& network : listing->networks) {
    Result<NetworkFacts> facts = read_facts(network);
    if (!facts) {
      findings.fail("conflist", fmt::format("network '{}' ({}): {}", network.name, network.file, facts.error().message),
                    "mend the file");
      continue;
    }
    check_keys(network, findings);
    bool good = true;
    for (const std::string& program : programs_of(network, *facts))
      good = check_program(runtime, network, program, findings) && good;
    if (good) check_status(runtime, network, findings);
    const bool exists = bridge_exists(facts->bridge);
    checked.push_back({.network = network, .facts = std::move(*facts), .bridge_exists = exists});
  }
  return checked;
}

}  // namespace slicer::runner::doctor
