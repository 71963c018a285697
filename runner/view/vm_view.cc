#include "runner/view/vm_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <ctime>
#include <iterator>
#include <set>

#include "lib/base/log.h"
#include "runner/state/vm_definition.h"
#include "runner/state/vm_files.h"

namespace slicer::runner {
namespace {

// A hypervisor that is gone while its supervisor lives: the supervisor is about to hear of it.
std::string_view state_of(const VmRecord& record, bool hypervisor_runs) {
  const std::string_view state = state_name(record);
  return state == "running" && !hypervisor_runs ? phase_name(Phase::kStopping) : state;
}

// One that runs, or is dead. None: it came or went meanwhile, or cannot be read, which is told. Error: it may not be
// read, and a list without it would say that it is not there.
Result<std::optional<VmRecord>> readable_record(const Settings& settings, const std::string& name) {
  Result<VmRecord> record = load_record(settings, name);
  if (record) return std::optional<VmRecord>(std::move(*record));
  if (record.error().sys_errno == EACCES) return std::unexpected(std::move(record).error());
  if (record.error().kind != Kind::kNotFound) log_line(record.error().message + ", ignoring");
  return std::optional<VmRecord>{};
}

// Kept VMs that do not run. Who runs has a record, so most folders there are not looked into.
Result<void> add_stopped(const Settings& settings, std::vector<VmView>& views) {
  std::set<std::string_view> known;
  for (const VmView& view : views) known.insert(view.record.name);
  std::vector<VmView> stopped;
  for (const std::string& name : TRY(list_kept_folders(settings))) {
    if (known.contains(name)) continue;
    const Result<std::optional<VmDefinition>> kept = find_definition(settings, name);
    if (!kept) log_line(kept.error().message + ", ignoring");
    if (kept && *kept) stopped.push_back(look_at(stopped_record(**kept)));
  }
  std::ranges::move(stopped, std::back_inserter(views));
  std::ranges::sort(views, {}, [](const VmView& view) { return view.record.name; });
  return {};
}

cni::Json lease_json(const VmRecord& record) {
  if (!record.lease) return nullptr;
  cni::Json json = {{"address", record.lease->address}, {"server", record.lease->server}, {"end", nullptr}};
  if (record.lease->end != 0) json["end"] = record.lease->end;
  return json;
}

double rounded(double value) { return std::round(value * 10) / 10; }

}  // namespace

VmView look_at(VmRecord record) {
  VmView view;
  view.hypervisor = read_process_stats(record.hypervisor);
  view.state = state_of(record, view.hypervisor.has_value());
  if (view.hypervisor) view.cpu_percent = view.hypervisor->cpu_percent();
  view.record = std::move(record);
  return view;
}

Result<std::vector<VmView>> look_at_vms(const Settings& settings) {
  std::vector<VmView> views;
  for (const std::string& name : TRY(list_vm_names(settings)))
    if (std::optional<VmRecord> record = TRY(readable_record(settings, name)))
      views.push_back(look_at(std::move(*record)));
  TRY(add_stopped(settings, views));
  return views;
}

void CpuMeter::measure(std::vector<VmView>& views) {
  std::map<std::string, Look> looks;
  for (VmView& view : views) {
    if (!view.hypervisor) continue;
    const Look now{.process = view.record.hypervisor, .cpu = view.hypervisor->cpu, .age = view.hypervisor->age};
    const auto before = last_.find(view.record.name);
    if (before != last_.end() && before->second.process == now.process && now.age > before->second.age)
      view.cpu_percent = 100 * (now.cpu - before->second.cpu) / (now.age - before->second.age);
    looks[view.record.name] = now;
  }
  last_ = std::move(looks);
}

std::vector<std::string> all_gateways(const VmRecord& record) {
  std::vector<std::string> gateways = record.gateways;
  if (record.lease && !record.lease->router.empty()) gateways.push_back(record.lease->router);
  return gateways;
}

cni::Json vm_json(const VmView& view) {
  const VmRecord& record = view.record;
  cni::Json json = {{"name", record.name},
                    {"group", record.group},
                    {"state", std::string(view.state)},
                    {"network", record.network},
                    {"addresses", all_addresses(record)},
                    {"gateways", all_gateways(record)},
                    {"lease", lease_json(record)},
                    {"mac", record.mac},
                    {"tap", record.tap},
                    {"linkGone", record.link_gone},
                    {"netns", record.placement == Placement::kHost ? "" : record.netns},
                    {"hypervisor", record.hypervisor_name},
                    {"jailer", is_jailed(record)},
                    {"accelerator", record.accelerator},
                    {"vcpus", record.vcpus},
                    {"ramMb", record.ram_mib},
                    {"created", record.created},
                    {"uptime", nullptr},
                    {"cpuPercent", nullptr},
                    {"cpuSeconds", nullptr},
                    {"memoryBytes", nullptr},
                    {"supervisorPid", record.supervisor.pid},
                    {"hypervisorPid", record.hypervisor.pid}};
  if (!view.hypervisor) return json;
  json["uptime"] = static_cast<int64_t>(view.hypervisor->age.count());
  json["cpuPercent"] = rounded(view.cpu_percent.value_or(0));
  json["cpuSeconds"] = view.hypervisor->cpu.count();
  json["memoryBytes"] = view.hypervisor->rss_bytes;
  return json;
}

std::string duration_text(int64_t seconds) {
  seconds = std::max<int64_t>(seconds, 0);
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3600) return fmt::format("{}m", seconds / 60);
  if (seconds < 86400) return fmt::format("{}h", seconds / 3600);
  return fmt::format("{}d", seconds / 86400);
}

std::string memory_text(uint64_t bytes) { return fmt::format("{} MiB", bytes >> 20); }

std::string lease_text(const VmRecord& record) {
  if (!record.lease) return "-";
  return record.lease->end == 0 ? "for ever" : duration_text(record.lease->end - std::time(nullptr));
}

}  // namespace slicer::runner
