#include "runner/commands/network_reload.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <memory>

#include "lib/base/log.h"
#include "runner/chain/runtime.h"
#include "runner/groups/group_pool.h"
#include "runner/groups/group_vms.h"
#include "runner/groups/to_conflist.h"
#include "runner/groups/yaml.h"
#include "runner/networks/attachments.h"
#include "runner/print.h"
#include "runner/supervisor/attachment.h"
#include "runner/supervisor/system_user.h"

namespace slicer::runner {
namespace {

constexpr const char* kFirewall = "slicer-firewall";

constexpr const char* kExplanation =
    "Edit \"drop\", \"allow\" or \"default\" in the conflist (or in the YAML of a running host group), then:\n"
    "  slicer-run network reload slicer\n"
    "Each VM's rules are replaced in one transaction; open connections are judged by the new lists at once.\n"
    "VMs with lists of their own (vm new --drop, --allow) keep them.";

// The list in memory of a running group, as its file says it now.
Result<chain::Conflist> network_of_group(const Context& context, const std::string& name) {
  for (const VmRecord& record : TRY(list_alive_vms(context))) {
    if (record.group != name || record.network != name || record.group_file.empty()) continue;
    HostGroups groups = TRY(read_host_groups(record.group_file));
    TRY(choose_gateways(context, groups, Keep::kNo));
    const auto group = std::ranges::find(groups.groups, name, &HostGroup::name);
    if (group == groups.groups.end() || !group->network)
      return fail(
          Kind::kNotFound,
          fmt::format("find the network of host group '{}' in '{}': it is not there any more", name, groups.file),
          "end the group: slicer-run down " + name);
    return group_network(*group, groups.file, context.conf_dir);
  }
  return fail(Kind::kNotFound, fmt::format("no host group '{}' is up", name));
}

Result<chain::Conflist> find_network(const Context& context, const std::string& name) {
  Result<chain::Conflist> network = chain::load_network(context.conf_dir, name);
  if (network || network.error().kind != Kind::kNotFound) return network;
  Result<chain::Conflist> group = network_of_group(context, name);
  return !group && group.error().message.ends_with("is up") ? std::move(network) : std::move(group);
}

const chain::PluginConf* firewall_of(const chain::Conflist& network) {
  const auto found = std::ranges::find(network.plugins, kFirewall, &chain::PluginConf::type);
  return found == network.plugins.end() ? nullptr : &*found;
}

// A plugin that was taken out of the list has left rules that must go: it is asked to enforce nothing.
std::optional<chain::PluginConf> firewall_for(const chain::Conflist& network, const chain::CacheEntry& entry) {
  if (const chain::PluginConf* now = firewall_of(network)) return *now;
  const Result<chain::Conflist> before = chain::parse_conflist(entry.config, "cache");
  if (!before || firewall_of(*before) == nullptr) return std::nullopt;
  chain::PluginConf empty;
  empty.type = kFirewall;
  empty.capabilities = firewall_of(*before)->capabilities;
  empty.raw = {{"type", kFirewall}};
  return empty;
}

bool is_there(const NetworkAttachment& attachment) {
  return attachment.state == AttachmentState::kRunning || attachment.state == AttachmentState::kOther;
}

struct Tally {
  unsigned reloaded = 0;
  unsigned failed = 0;
};

Result<void> reload_one(const chain::Runtime& runtime, const chain::Conflist& network, const chain::AttachmentKey& key,
                        Tally& tally) {
  const std::optional<chain::CacheEntry> entry = TRY(runtime.cache().load(key));
  if (!entry) return {};  // its ADD is not finished, or its DEL has begun
  const std::optional<chain::PluginConf> firewall = firewall_for(network, *entry);
  if (!firewall) return {};
  TRY(runtime.repeat_add(network, *firewall, chain::attachment_of(*entry)));
  ++tally.reloaded;
  return print(fmt::format("reloaded {} ({})\n", key.container_id, key.ifname));
}

Result<int> run(const Context& context, const std::string& name) {
  TRY(check_root());
  const chain::Conflist network = TRY(find_network(context, name));
  const chain::Runtime runtime(runtime_settings(context));
  Tally tally;
  for (const NetworkAttachment& attachment : TRY(list_attachments(context, name))) {
    if (!is_there(attachment)) continue;
    const Result<void> reloaded = reload_one(runtime, network, attachment.key, tally);
    if (reloaded) continue;
    log_line(reloaded.error().message);
    if (!reloaded.error().hint.empty()) log_line("hint: " + reloaded.error().hint);
    ++tally.failed;
  }
  if (tally.reloaded == 0 && tally.failed == 0) TRY(print(fmt::format("nothing to reload on network '{}'\n", name)));
  return tally.failed == 0 ? kExitOk : kExitFailed;
}

}  // namespace

void register_network_reload(CLI::App& network, Context& context) {
  CLI::App& command = *network.add_subcommand("reload", "Apply edited drop and allow lists to the VMs that run");
  const auto name = std::make_shared<std::string>();
  command.add_option("NAME", *name, "The network's, or a running host group's name")->required();
  command.footer(kExplanation);
  command.callback([&context, name] { context.action = [&context, name] { return run(context, *name); }; });
}

}  // namespace slicer::runner
