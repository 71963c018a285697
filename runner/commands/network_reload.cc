#include "runner/commands/network_reload.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <memory>

#include "runner/groups/group_note.h"
#include "runner/groups/group_pool.h"
#include "runner/groups/group_vms.h"
#include "runner/groups/reload.h"
#include "runner/groups/to_conflist.h"
#include "runner/groups/yaml.h"
#include "runner/print.h"
#include "runner/supervisor/system_user.h"

namespace slicer::runner {
namespace {

constexpr const char* kExplanation =
    "Edit \"drop\", \"allow\" or \"default\" in the conflist (or in the YAML of a running host group), then:\n"
    "  slicer-run network reload slicer\n"
    "Each VM's rules are replaced in one transaction; open connections are judged by the new lists at once.\n"
    "VMs with lists of their own (vm new --drop, --allow) keep them.\n"
    "Without NAME all networks are: their masquerade and isolation, too, are put back that another program took\n"
    "(nft flush ruleset).";

// The file is gone, or was standard input.
Result<chain::Conflist> network_of_note(const Context& context, const std::string& name) {
  const std::optional<GroupNote> note = TRY(find_note(context, name));
  if (!note) return fail(Kind::kNotFound, fmt::format("no host group '{}' is up", name));
  return group_network(TRY(group_of(context, *note)), note->file, context.conf_dir);
}

// The list in memory of a running group, as its file says it now.
Result<chain::Conflist> network_of_group(const Context& context, const std::string& name) {
  for (const VmRecord& record : TRY(list_alive_vms(context))) {
    if (record.group != name || record.network != name || record.group_file.empty()) continue;
    if (!is_regular_file(record.group_file)) return network_of_note(context, name);
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

Result<int> run_all(const Context& context) {
  TRY(check_root());
  const Reloaded reloaded =
      TRY(reload_all(context, [&context](const std::string& name) { return find_network(context, name); }));
  if (reloaded.done == 0 && reloaded.failed == 0) TRY(print("nothing to reload\n"));
  return reloaded.failed == 0 ? kExitOk : kExitFailed;
}

Result<int> run(const Context& context, const std::string& name) {
  if (name.empty()) return run_all(context);
  TRY(check_root());
  const chain::Conflist network = TRY(find_network(context, name));
  const Reloaded reloaded = TRY(reload_lists(context, network));
  if (reloaded.done == 0 && reloaded.failed == 0) TRY(print(fmt::format("nothing to reload on network '{}'\n", name)));
  return reloaded.failed == 0 ? kExitOk : kExitFailed;
}

}  // namespace

void register_network_reload(CLI::App& network, Context& context) {
  CLI::App& command =
      *network.add_subcommand("reload", "Put a network's rules (or all networks') into force again, with edited lists");
  const auto name = std::make_shared<std::string>();
  command.add_option("NAME", *name, "The network's, or a running host group's name; none: all that have VMs");
  command.footer(kExplanation);
  command.callback([&context, name] { context.action = [&context, name] { return run(context, *name); }; });
}

}  // namespace slicer::runner
