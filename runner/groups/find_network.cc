#include "runner/groups/find_network.h"

#include <fmt/format.h>

#include <algorithm>

#include "runner/groups/group_note.h"
#include "runner/groups/group_pool.h"
#include "runner/groups/group_vms.h"
#include "runner/groups/to_conflist.h"
#include "runner/groups/yaml.h"

namespace slicer::runner {
namespace {

// The file is gone, or was standard input.
Result<chain::Conflist> network_of_note(const Settings& settings, const std::string& name) {
  const std::optional<GroupNote> note = TRY(find_note(settings, name));
  if (!note) return fail(Kind::kNotFound, fmt::format("no host group '{}' is up", name));
  return group_network(TRY(group_of(settings, *note)), note->file, settings.conf_dir);
}

// The list in memory of a running group, as its file says it now.
Result<chain::Conflist> network_of_group(const Settings& settings, const std::string& name) {
  for (const VmRecord& record : TRY(list_alive_vms(settings))) {
    if (record.group != name || record.network != name || record.group_file.empty()) continue;
    if (!is_regular_file(record.group_file)) return network_of_note(settings, name);
    HostGroups groups = TRY(read_host_groups(record.group_file));
    TRY(choose_gateways(settings, groups, Keep::kNo));
    const auto group = std::ranges::find(groups.groups, name, &HostGroup::name);
    if (group == groups.groups.end() || !group->network)
      return fail(
          Kind::kNotFound,
          fmt::format("find the network of host group '{}' in '{}': it is not there any more", name, groups.file),
          "end the group: slicer-run down " + name);
    return group_network(*group, groups.file, settings.conf_dir);
  }
  return fail(Kind::kNotFound, fmt::format("no host group '{}' is up", name));
}

}  // namespace

Result<chain::Conflist> find_network_now(const Settings& settings, const std::string& name) {
  Result<chain::Conflist> network = chain::load_network(settings.conf_dir, name);
  if (network || network.error().kind != Kind::kNotFound) return network;
  Result<chain::Conflist> group = network_of_group(settings, name);
  return !group && group.error().message.ends_with("is up") ? std::move(network) : std::move(group);
}

}  // namespace slicer::runner
