#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <cerrno>
#include <ctime>
#include <memory>

#include "lib/base/log.h"
#include "lib/cni/json.h"
#include "runner/commands/table.h"
#include "runner/commands/vm.h"
#include "runner/state/vm_definition.h"
#include "runner/state/vm_files.h"
#include "runner/state/vm_record.h"

namespace slicer::runner {
namespace {

// VMs that come or go meanwhile have no record, or none any more; an unreadable one is told and passed over. One that
// may not be read fails: a list without it would say that it is not there.
Result<std::vector<VmRecord>> load_all(const Settings& settings) {
  std::vector<VmRecord> records;
  for (const std::string& name : TRY(list_vm_names(settings))) {
    Result<VmRecord> record = load_record(settings, name);
    if (record)
      records.push_back(std::move(*record));
    else if (record.error().sys_errno == EACCES)
      return std::unexpected(std::move(record).error());
    else if (record.error().kind != Kind::kNotFound)
      log_line(record.error().message + ", ignoring");
  }
  for (const VmDefinition& kept : TRY(list_definitions(settings)))
    if (std::ranges::find(records, kept.name, &VmRecord::name) == records.end())
      records.push_back(stopped_record(kept));
  std::ranges::sort(records, {}, &VmRecord::name);
  return records;
}

std::string duration_text(int64_t seconds) {
  seconds = std::max<int64_t>(seconds, 0);
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3600) return fmt::format("{}m", seconds / 60);
  if (seconds < 86400) return fmt::format("{}h", seconds / 3600);
  return fmt::format("{}d", seconds / 86400);
}

// What is left of the lease.
std::string lease_text(const VmRecord& record) {
  if (!record.lease) return "-";
  return record.lease->end == 0 ? "for ever" : duration_text(record.lease->end - std::time(nullptr));
}

using Row = std::vector<std::string>;

Row row_of(const VmRecord& record) {
  const bool host = record.placement == Placement::kHost;
  const std::vector<std::string> addresses = all_addresses(record);
  return {record.name,
          std::string(state_name(record)) + (record.link_gone ? ", no link" : ""),
          addresses.empty() ? "-" : fmt::format("{}", fmt::join(addresses, ",")),
          record.network,
          record.tap.empty() ? "-" : record.tap + (host ? "" : "@" + record.netns.substr(record.netns.rfind('/') + 1)),
          std::to_string(record.vcpus),
          fmt::format("{} MiB", record.ram_mib),
          record.accelerator,
          duration_text(std::time(nullptr) - record.created)};
}

// A column for those who have leases; behind the addresses.
void add_leases(const std::vector<VmRecord>& records, std::vector<Row>& rows) {
  constexpr ptrdiff_t kColumn = 3;
  if (std::ranges::none_of(records, [](const VmRecord& record) { return record.lease.has_value(); })) return;
  rows[0].insert(rows[0].begin() + kColumn, "LEASE");
  for (size_t i = 0; i < records.size(); ++i) rows[i + 1].insert(rows[i + 1].begin() + kColumn, lease_text(records[i]));
}

cni::Json lease_json(const VmRecord& record) {
  if (!record.lease) return nullptr;
  cni::Json json = {{"address", record.lease->address}, {"server", record.lease->server}, {"end", nullptr}};
  if (record.lease->end != 0) json["end"] = record.lease->end;
  return json;
}

std::vector<std::string> all_gateways(const VmRecord& record) {
  std::vector<std::string> gateways = record.gateways;
  if (record.lease && !record.lease->router.empty()) gateways.push_back(record.lease->router);
  return gateways;
}

// One object a VM; docs/slicer-run.md names the members, which stay as they are.
cni::Json json_of(const VmRecord& record) {
  return {{"name", record.name},
          {"state", state_name(record)},
          {"network", record.network},
          {"addresses", all_addresses(record)},
          {"gateways", all_gateways(record)},
          {"lease", lease_json(record)},
          {"mac", record.mac},
          {"tap", record.tap},
          {"linkGone", record.link_gone},
          {"netns", record.placement == Placement::kHost ? "" : record.netns},
          {"hypervisor", record.hypervisor_name},
          {"accelerator", record.accelerator},
          {"vcpus", record.vcpus},
          {"ramMb", record.ram_mib},
          {"created", record.created},
          {"supervisorPid", record.supervisor.pid},
          {"hypervisorPid", record.hypervisor.pid}};
}

Result<int> run(const Context& context, bool as_json) {
  const std::vector<VmRecord> records = TRY(load_all(context));
  if (as_json) {
    cni::Json list = cni::Json::array();
    for (const VmRecord& record : records) list.push_back(json_of(record));
    TRY(print(list.dump(2, ' ', false, cni::Json::error_handler_t::replace) + "\n"));
    return kExitOk;
  }
  std::vector<Row> rows = {{"NAME", "STATE", "ADDRESS", "NETWORK", "TAP", "VCPU", "RAM", "ACCEL", "AGE"}};
  for (const VmRecord& record : records) rows.push_back(row_of(record));
  add_leases(records, rows);
  TRY(print(table_text(rows)));
  return kExitOk;
}

}  // namespace

void register_list(CLI::App& app, Context& context) {
  const auto as_json = std::make_shared<bool>(false);
  CLI::App& command = *app.add_subcommand("list", "Show the VMs");
  command.add_flag("--json", *as_json, "As a JSON array");
  command.callback([&context, as_json] { context.action = [&context, as_json] { return run(context, *as_json); }; });
}

}  // namespace slicer::runner
