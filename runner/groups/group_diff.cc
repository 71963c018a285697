#include "runner/groups/group_diff.h"

#include <algorithm>
#include <tuple>

#include "runner/state/vm_definition.h"

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

std::vector<std::string> changed_keys(const VmRecord& running, const VmRequest& wanted) {
  std::vector<std::string> keys;
  const auto compare = [&](const char* key, const auto& then, const auto& now) {
    if (then != now) keys.emplace_back(key);
  };
  const VmDefinition& now = wanted.definition;
  compare("vcpu", running.vcpus, now.vcpus);
  compare("ram_mb", running.ram_mib, now.ram_mib);
  if (const Result<VmDefinition> then = definition_of(running); then) {
    compare("image", std::tie(then->image_dir, then->kernel, then->initrd, then->disk, then->cmdline),
            std::tie(now.image_dir, now.kernel, now.initrd, now.disk, now.cmdline));
    compare("jailer", then->jailer, now.jailer);
    compare("storage", std::max(then->storage_bytes, now.storage_bytes), then->storage_bytes);  // a disk never shrinks
    compare("ssh_keys", then->ssh_keys, now.ssh_keys);
    compare("userdata", then->userdata, now.userdata);
  }
  const cni::Json then_asked = asked_of_file(running.capability_args);
  const cni::Json now_asked = asked_of_file(now.capability_args);
  for (const char* key : {"mac", "bandwidth"})
    if (now_asked.contains(key)) compare(key, then_asked.value(key, cni::Json()), now_asked[key]);
  const Result<chain::Conflist> list = chain::parse_conflist(running.conflist, running.network);
  const bool same_network = running.network == wanted.network.name;
  if (!same_network || (list && without_lists(*list) != without_lists(wanted.network))) keys.emplace_back("network");
  return keys;
}

bool only_lists_differ(const chain::Conflist& before, const chain::Conflist& now) {
  return before.bytes != now.bytes && without_lists(before) == without_lists(now);
}

}  // namespace slicer::runner
