#include "runner/life/kept_vms.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "lib/base/log.h"
#include "runner/groups/group_pool.h"
#include "runner/groups/to_conflist.h"
#include "runner/groups/yaml.h"
#include "runner/state/vm_definition.h"
#include "runner/state/vm_files.h"
#include "runner/supervisor/cleanup.h"
#include "runner/supervisor/launch.h"
#include "runner/supervisor/system_user.h"

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;

constexpr auto kNameLimit = 10s;  // another command is about to be done with the name

Error no_vm(const std::string& name) {
  return {.kind = Kind::kNotFound, .message = "no VM '" + name + "'", .hint = "slicer-run list shows the VMs"};
}

// Its record, where it has one. Errors but kNotFound: a record that cannot be read.
Result<std::optional<VmRecord>> find_record(const Settings& settings, const std::string& name) {
  Result<VmRecord> record = load_record(settings, name);
  if (record) return std::optional<VmRecord>(std::move(*record));
  if (record.error().kind == Kind::kNotFound) return std::optional<VmRecord>{};
  return std::unexpected(std::move(record).error());
}

// A dead VM becomes a kept one. Its supervisor cannot do that any more.
Result<Stopped> keep_dead(const Settings& settings, const VmRecord& record) {
  const Result<VmLock> lock = VmLock::try_existing(settings, record.name);
  if (!lock) {
    if (lock.error().kind == Kind::kNotFound) return Stopped::kGone;
    return fail(Kind::kBusy, "VM '" + record.name + "' is being cleaned up or made", "try again");
  }
  std::optional<VmDefinition> kept = TRY(find_definition(settings, record.name));
  if (!kept) kept = TRY(definition_of(record));
  kept->stopped = true;
  TRY(save_definition(settings, *kept));
  TRY(clean_leftovers(settings, record.name, *lock));
  return Stopped::kDone;
}

// A group's network as its file says now; the file may be gone, or not be one (standard input).
std::optional<chain::Conflist> network_of_group(const Settings& settings, const VmDefinition& vm) {
  if (vm.group.empty() || !is_regular_file(vm.group_file)) return {};
  Result<HostGroups> groups = read_host_groups(vm.group_file);
  const Result<void> chosen = groups ? choose_gateways(settings, *groups, Keep::kNo) : std::unexpected(groups.error());
  if (!chosen) {
    log_line(chosen.error().message + ", ignoring: the network is as it was");
    return {};
  }
  const auto group = std::ranges::find(groups->groups, vm.group, &HostGroup::name);
  if (group == groups->groups.end()) return {};
  Result<chain::Conflist> network = group_network(*group, vm.group_file, vm.conf_dir);
  if (!network) {
    log_line(network.error().message + ", ignoring: the network is as it was");
    return {};
  }
  return std::move(*network);
}

Result<chain::Conflist> network_now(const Settings& settings, const VmDefinition& vm) {
  if (std::optional<chain::Conflist> network = network_of_group(settings, vm)) return std::move(*network);
  Result<chain::Conflist> network = chain::load_network(vm.conf_dir, vm.network);
  if (network || network.error().kind != Kind::kNotFound || vm.group.empty() || vm.conflist.empty()) return network;
  return chain::with_folder_plugins(TRY(chain::parse_conflist(vm.conflist, "VM '" + vm.name + "'")), vm.conf_dir);
}

Result<Started> boot(Settings settings, const VmDefinition& vm) {
  settings.conf_dir = vm.conf_dir;
  const VmRequest request = TRY(make_request(settings, spec_of(vm, TRY(network_now(settings, vm)))));
  Result<VmLock> lock = take_name(settings, vm.name);
  if (!lock && lock.error().kind == Kind::kExists) {
    Result<VmRecord> other = load_record(settings, vm.name);
    if (other && is_alive(*other)) return Started{.record = std::move(*other), .already = true};
  }
  if (!lock) return std::unexpected(std::move(lock).error());
  Started started;
  started.record = TRY(start_vm(settings, request, std::move(*lock)));
  return started;
}

// A run without a readable record: only cleanup can tell what it is.
Result<void> end_run(const Settings& settings, const std::string& name, const RemoveWish& wish) {
  const Result<VmRecord> record = load_record(settings, name);
  if (record) return stop_vm(settings, *record, {.now = wish.now});
  const Cleaned cleaned = TRY(clean_dead_vm(settings, name));
  if (cleaned == Cleaned::kAlive && record.error().kind != Kind::kNotFound)
    return fail(record.error().kind, fmt::format("end VM '{}', which runs: {}", name, record.error().message),
                fmt::format("end its supervisor, and it takes everything back: fuser -k -TERM {}",
                            vm_files(settings, name).lock));
  if (cleaned == Cleaned::kAlive) return fail(Kind::kBusy, "VM '" + name + "' is being made", "try again");
  return {};
}

Result<void> forget_run(const Settings& settings, const std::string& name) {
  const VmLock lock = TRY(VmLock::try_existing(settings, name));
  if (const Result<VmRecord> record = load_record(settings, name); record) TRY(kill_process(record->hypervisor));
  return forget_vm(settings, name, lock);
}

// Not by an error's kind: a plugin that is missing is kNotFound too.
Result<bool> has_run(const Settings& settings, const std::string& name) {
  const std::vector<std::string> names = TRY(list_vm_names(settings));
  return std::ranges::find(names, name) != names.end();
}

bool has_kept(const Settings& settings, const std::string& name) {
  return access(kept_files(settings, name).folder.c_str(), F_OK) == 0;
}

}  // namespace

Result<Stopped> stop_and_keep(const Settings& settings, const std::string& name, StopWish wish) {
  TRY(check_vm_name(name));
  TRY(check_root());
  const std::optional<VmRecord> record = TRY(find_record(settings, name));
  if (!record) {
    if (TRY(find_definition(settings, name))) return Stopped::kAlready;
    return std::unexpected(no_vm(name));
  }
  if (!is_alive(*record)) return keep_dead(settings, *record);
  wish.keep = true;
  TRY(stop_vm(settings, *record, wish));
  return TRY(find_definition(settings, name)) ? Stopped::kDone : Stopped::kGone;
}

Result<Started> start_kept(const Settings& settings, const std::string& name) {
  TRY(check_vm_name(name));
  TRY(check_root());
  std::optional<VmRecord> record = TRY(find_record(settings, name));
  if (record && is_alive(*record)) return Started{.record = std::move(*record), .already = true};
  if (record) (void)TRY(keep_dead(settings, *record));
  const std::optional<VmDefinition> kept = TRY(find_definition(settings, name));
  if (!kept) return std::unexpected(no_vm(name));
  return boot(settings, *kept);
}

Result<void> remove_for_good(const Settings& settings, const std::string& name, const RemoveWish& wish) {
  TRY(check_vm_name(name));
  TRY(check_root());
  const bool ran = TRY(has_run(settings, name));
  if (!ran && !has_kept(settings, name)) return std::unexpected(no_vm(name));
  Result<void> ended = ran ? end_run(settings, name, wish) : Result<void>{};
  if (!ended && wish.force && TRY(has_run(settings, name))) {
    log_line(ended.error().message + ", ignoring");
    ended = forget_run(settings, name);
  }
  TRY(std::move(ended));
  if (!has_kept(settings, name)) return {};
  const VmLock lock = TRY(VmLock::acquire(settings, name, kNameLimit)
                              .context("remove VM '" + name + "'")
                              .hint("another command has begun with it: try again"));
  TRY(remove_kept(settings, name));
  return forget_vm(settings, name, lock);
}

}  // namespace slicer::runner
