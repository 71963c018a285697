#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/App.hpp>
#include <memory>

#include "lib/base/log.h"
#include "runner/commands/groups.h"
#include "runner/groups/fleet.h"
#include "runner/groups/group_launch.h"
#include "runner/groups/group_lock.h"
#include "runner/groups/group_pool.h"
#include "runner/groups/group_vms.h"
#include "runner/groups/to_conflist.h"
#include "runner/groups/yaml.h"
#include "runner/supervisor/system_user.h"

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;

constexpr const char* kExamples =
    "Examples:\n"
    "  slicer-run up sandbox.yaml             boot the groups' VMs and stay; ctrl-c shuts them down\n"
    "  slicer-run up sandbox.yaml --detach    boot them and return; slicer-run down sandbox.yaml ends them\n"
    "  slicer-run new vm --count=1 | slicer-run up - --detach";

struct Options {
  std::string file = {};
  bool detach = false;
};

/// What is to be done, found out before anything is.
struct Plan {
  std::vector<VmRequest> requests = {};
  std::vector<VmRecord> running = {};
};

// Of this group of this file; what else has the name is in the way.
Result<void> check_running(const VmRecord& record, const HostGroup& group, const std::string& file) {
  if (record.group == group.name && record.group_file == file) return {};
  if (record.group == group.name)
    return fail(Kind::kExists,
                fmt::format("host group '{}' is up from another file, '{}'", group.name, record.group_file),
                fmt::format("rename the group, or end it: slicer-run down {}", group.name));
  return fail(Kind::kExists, fmt::format("VM '{}' exists and is not of host group '{}'", record.name, group.name),
              fmt::format("rename the group, or remove the VM: slicer-run vm rm {}", record.name));
}

Result<void> check_group_is_ours(const std::vector<VmRecord>& alive, const HostGroup& group, const std::string& file) {
  for (const VmRecord& record : alive)
    if (record.group == group.name) TRY(check_running(record, group, file));
  return {};
}

/// The list without what `network reload` takes over.
cni::Json without_lists(const chain::Conflist& network) {
  cni::Json plugins = cni::Json::array();
  for (const chain::PluginConf& plugin : network.plugins) {
    cni::Json raw = plugin.raw;
    if (plugin.type == "slicer-firewall")
      for (const char* key : {"drop", "allow", "default", "log"}) raw.erase(key);
    // A list that got its first entry brings the plugin along.
    if (raw.size() > 2 || plugin.type != "slicer-firewall") plugins.push_back(std::move(raw));
  }
  return plugins;
}

/// What of a running VM is not as its group's file says now, and how it becomes so; empty: nothing.
std::string stale_text(const VmRecord& record, const HostGroup& group, const chain::Conflist& network) {
  std::vector<std::string> keys;
  if (record.vcpus != group.vcpus) keys.emplace_back("vcpu");
  if (record.ram_mib != group.ram_mib) keys.emplace_back("ram_mb");
  const Result<chain::Conflist> then = chain::parse_conflist(record.conflist, record.network);
  const bool network_differs = then && without_lists(*then) != without_lists(network);
  if (network_differs) keys.emplace_back("network");
  std::string text;
  if (!keys.empty())
    text = fmt::format(", with another {} than the file says; to take it over: slicer-run down {}, then up",
                       fmt::join(keys, ", "), group.name);
  if (then && !network_differs && record.conflist != network.bytes)
    text += fmt::format("; changed lists: slicer-run network reload {}", network.name);
  return text;
}

Result<void> plan_group(const Context& context, const HostGroup& group, const std::string& file, Plan& plan) {
  const std::vector<VmRecord> alive = TRY(list_alive_vms(context));
  TRY(check_group_is_ours(alive, group, file));
  const chain::Conflist network = TRY(group_network(group, file, context.conf_dir));
  if (group.network) TRY(check_clashes(network, alive));
  for (unsigned number = 1; number <= group.count; ++number) {
    const auto found = std::ranges::find(alive, group.vm_name(number), &VmRecord::name);
    if (found != alive.end()) {
      TRY(check_running(*found, group, file));
      log_line(fmt::format("{} runs already{}", found->name, stale_text(*found, group, network)));
      plan.running.push_back(*found);
      continue;
    }
    LaunchSpec spec = TRY(group_vm_spec(group, number, network, file));
    spec.kept = KeptWish::kMay;
    plan.requests.push_back(TRY(make_request(context, spec)));
  }
  if (group.count == 0)
    TRY(print(
        fmt::format("host group '{}': count is 0, so no VM is booted; write count: 1 to boot one\n", group.name)));
  return {};
}

Result<Plan> make_plan(const Context& context, const HostGroups& groups) {
  Plan plan;
  for (const HostGroup& group : groups.groups) TRY(plan_group(context, group, groups.file, plan));
  return plan;
}

Result<std::vector<GroupLock>> lock_groups(const Context& context, const HostGroups& groups) {
  std::vector<GroupLock> locks;
  for (const HostGroup& group : groups.groups)
    if (group.count != 0)
      locks.push_back(TRY(GroupLock::acquire(context, GroupLock::Purpose::kKeep, group.name, groups.file, 0ms)));
  return locks;
}

// The terminal's ctrl-c is for this process; the VMs are ended in order.
Result<int> stay(Fleet& fleet) {
  if (!fleet.running().empty() && !fleet.interrupted()) log_line("ctrl-c shuts the VMs down");
  TRY(fleet.keep());
  if (fleet.interrupted() && !fleet.running().empty()) log_line("shutting the VMs down; once more ends them at once");
  TRY(fleet.end());
  return fleet.failed() == 0 ? kExitOk : kExitFailed;
}

Result<int> run(const Context& context, const Options& options) {
  HostGroups groups = TRY(read_host_groups(options.file));
  TRY(check_root());
  TRY(choose_gateways(context, groups, Keep::kYes));
  const std::vector<GroupLock> locks = TRY(lock_groups(context, groups));
  Plan plan = TRY(make_plan(context, groups));
  if (plan.requests.empty() && plan.running.empty()) return kExitOk;
  raise_descriptor_limit();
  const Signals signals = TRY(Signals::block());
  Fleet fleet(context, signals);
  for (VmRecord& record : plan.running) fleet.adopt(std::move(record));
  TRY(fleet.boot(std::move(plan.requests)));
  if (!options.detach || fleet.interrupted()) return stay(fleet);
  return fleet.failed() == 0 ? kExitOk : kExitFailed;
}

}  // namespace

void register_up(CLI::App& app, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App& command = *app.add_subcommand("up", "Boot the VMs of a file's host groups");
  command.add_option("FILE", options->file, "YAML of host groups (slicer-run new prints one); - is stdin")->required();
  command.add_flag("--detach,-d", options->detach, "Return when the VMs run");
  command.footer(kExamples);
  command.callback([&context, options] { context.action = [&context, options] { return run(context, *options); }; });
}

}  // namespace slicer::runner
