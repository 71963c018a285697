#include "runner/groups/group_diff.h"

namespace slicer::runner {
namespace {

constexpr const char* kFirewall = "slicer-firewall";

// The list without what a reload takes over.
cni::Json without_lists(const chain::Conflist& network) {
  cni::Json plugins = cni::Json::array();
  for (const chain::PluginConf& plugin : network.plugins) {
    cni::Json raw = plugin.raw;
    if (plugin.type == kFirewall)
      for (const char* key : {"drop", "allow", "default", "log"}) raw.erase(key);
    // A list that got its first entry brings the plugin along.
    if (raw.size() > 2 || plugin.type != kFirewall) plugins.push_back(std::move(raw));
  }
  return plugins;
}

// A policy of the VM's own, given by `vm new`, is not the file's; what the VM asked for, it may have got otherwise.
cni::Json asked_of_file(const cni::Json& capability_args) {
  cni::Json args = capability_args;
  for (const char* key : {"policy", "ips"}) args.erase(key);
  return args;
}

}  // namespace

std::vector<std::string> changed_keys(const VmRecord& running, const LaunchSpec& wanted) {
  std::vector<std::string> keys;
  if (running.vcpus != wanted.vcpus) keys.emplace_back("vcpu");
  if (running.ram_mib != wanted.ram_mib) keys.emplace_back("ram_mb");
  const cni::Json then_asked = asked_of_file(running.capability_args);
  const cni::Json now_asked = asked_of_file(wanted.capability_args);
  for (const char* key : {"mac", "bandwidth"})
    if (then_asked.value(key, cni::Json()) != now_asked.value(key, cni::Json())) keys.emplace_back(key);
  const Result<chain::Conflist> then = chain::parse_conflist(running.conflist, running.network);
  const bool same_network = running.network == wanted.network.name;
  if (!same_network || (then && without_lists(*then) != without_lists(wanted.network))) keys.emplace_back("network");
  return keys;
}

bool only_lists_differ(const chain::Conflist& before, const chain::Conflist& now) {
  return before.bytes != now.bytes && without_lists(before) == without_lists(now);
}

}  // namespace slicer::runner
