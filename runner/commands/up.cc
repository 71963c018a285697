#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <memory>

#include "lib/base/log.h"
#include "runner/commands/groups.h"
#include "runner/groups/fleet.h"
#include "runner/groups/group_apply.h"
#include "runner/groups/group_down.h"
#include "runner/groups/group_keeping.h"
#include "runner/groups/group_pool.h"
#include "runner/groups/group_vms.h"
#include "runner/groups/ready.h"
#include "runner/groups/yaml.h"
#include "runner/state/epitaph.h"
#include "runner/supervisor/system_user.h"

namespace slicer::runner {
namespace {

constexpr const char* kExamples =
    "Examples:\n"
    "  slicer-run up sandbox.yaml             boot the groups' VMs and stay; ctrl-c shuts them down\n"
    "  slicer-run up sandbox.yaml --detach    boot them and return; slicer-run down sandbox.yaml ends them\n"
    "  slicer-run up sandbox.yaml             again, after an edit: changes only what differs\n"
    "  slicer-run new vm --count=1 | slicer-run up - --detach";

struct Options {
  std::string file = {};
  bool detach = false;
  bool recreate = false;
};

std::vector<std::string> names_of(const HostGroups& groups) {
  std::vector<std::string> names;
  for (const HostGroup& group : groups.groups) names.push_back(group.name);
  return names;
}

bool restarts(const HostGroup& group) { return group.restart != RestartPolicy::kNo; }

// Ctrl-c while they boot: nobody keeps what has come so far.
Result<unsigned> end_begun(const Context& context, const HostGroups& groups, const Signals& signals) {
  log_line("shutting the VMs down; once more ends them at once");
  Fleet fleet(context, signals);
  TRY(end_groups(context, {.groups = names_of(groups), .file = groups.file}, fleet));
  return fleet.failed();
}

/// What is left to do when the groups are as the file says.
enum class Next { kReturn, kKeep, kLeaveKeeper };

Result<Next> bring_up(const Context& context, const Options& options, UpGroups& up, const Signals& signals,
                      Keeping& keeping, unsigned& failed) {
  const HostGroups& groups = up.groups;
  const std::vector<GroupLock> changes = TRY(lock_changes(context, names_of(groups), groups.file));
  keeping = TRY(take_keeping(context, groups, !options.detach));
  std::vector<GroupPlan> plans = TRY(plan_groups(context, groups, options.recreate));
  Fleet fleet(context, signals);
  TRY(apply_plans(context, groups, std::move(plans), signals, fleet));
  failed += fleet.failed();
  up.vms = fleet.running();
  up.missed = fleet.missed();
  if (fleet.interrupted() && keeping.other == 0) failed += TRY(end_begun(context, groups, signals));
  if (fleet.interrupted()) {
    if (keeping.other != 0) ++failed;  // not all of it was done
    return Next::kReturn;
  }
  if (keeping.other != 0) {
    log_line(fmt::format("process {} keeps the VMs; slicer-run down {} ends them", keeping.other, options.file));
    return Next::kReturn;
  }
  if (!options.detach) return Next::kKeep;
  return std::ranges::any_of(groups.groups, restarts) ? Next::kLeaveKeeper : Next::kReturn;
}

Result<int> run(const Context& context, const Options& options) {
  UpGroups up;
  up.groups = TRY(read_host_groups(options.file));
  TRY(check_root());
  TRY(choose_gateways(context, up.groups, Keep::kYes));
  raise_descriptor_limit();
  const Signals signals = TRY(Signals::block());
  unsigned failed = 0;
  Keeping keeping;
  const Next next = TRY(bring_up(context, options, up, signals, keeping, failed));
  if (next == Next::kLeaveKeeper) TRY(leave_keeper(context, up, std::move(keeping.locks)));
  if (next == Next::kKeep) {
    notify_service("READY=1");
    log_line("ctrl-c shuts the VMs down");
    failed += TRY(keep_groups(context, up, signals));
  }
  if (next == Next::kReturn && keeping.other == 0)
    for (const std::string& name : names_of(up.groups)) forget_epitaphs(context, name);
  return failed == 0 ? kExitOk : kExitFailed;
}

}  // namespace

void register_up(CLI::App& app, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App& command = *app.add_subcommand("up", "Boot the VMs of a file's host groups");
  command.add_option("FILE", options->file, "YAML of host groups (slicer-run new prints one); - is stdin")->required();
  command.add_flag("--detach,-d", options->detach, "Return when the VMs run");
  command.add_flag("--recreate", options->recreate, "Make VMs anew that are not as the file says now");
  command.footer(kExamples);
  command.callback([&context, options] { context.action = [&context, options] { return run(context, *options); }; });
}

}  // namespace slicer::runner
