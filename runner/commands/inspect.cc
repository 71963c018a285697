#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <array>
#include <ctime>
#include <memory>

#include "lib/cni/json.h"
#include "runner/commands/table.h"
#include "runner/commands/view.h"
#include "runner/map/vm_path.h"
#include "runner/networks/policy_view.h"
#include "runner/state/vm_definition.h"
#include "runner/state/vm_files.h"
#include "runner/supervisor/system_user.h"
#include "runner/view/vm_view.h"

namespace slicer::runner {
namespace {

using cni::Json;

constexpr const char* kExamples =
    "Examples:\n"
    "  slicer-run inspect demo-1\n"
    "  slicer-run inspect demo-1 --json | jq .conflist      the network as it was attached";

/// All that is known of one VM.
struct Inspection {
  VmView view = {};
  std::optional<VmDefinition> kept = {};
  Json definition = nullptr;  ///< how it boots: the kept one, else the run's own
  VmPath path = {};
  std::optional<PolicyView> policy = {};
  std::string policy_error = {};  ///< why that is not known
  std::vector<std::string> files = {};
};

std::string time_text(int64_t seconds) {
  const auto at = static_cast<time_t>(seconds);
  std::tm parts = {};
  std::array<char, 32> text = {};
  if (seconds == 0 || gmtime_r(&at, &parts) == nullptr) return "-";
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

// Those that are there.
std::vector<std::string> files_of(const Settings& settings, const std::string& name) {
  const VmFiles run = vm_files(settings, name);
  const KeptFiles kept = kept_files(settings, name);
  std::vector<std::string> files;
  for (const std::string& path : {run.state, run.lock, run.console_socket, run.console_log, run.hypervisor_log,
                                  run.supervisor_log, run.packet_log, kept.definition, kept.folder + "/disk.qcow2",
                                  kept.folder + "/disk.raw", kept.known_hosts, kept.seed}) {
    struct stat status{};
    if (stat(path.c_str(), &status) == 0) files.push_back(path);
  }
  return files;
}

Result<VmRecord> record_of(const Settings& settings, const std::string& name, const std::optional<VmDefinition>& kept) {
  Result<VmRecord> record = load_record(settings, name);
  if (record || record.error().kind != Kind::kNotFound || !kept) return record;
  return stopped_record(*kept);
}

void look_at_policy(Inspection& vm) {
  if (vm.view.state != "running") return;
  Result<PolicyView> policy = policy_of(vm.view.record);
  if (policy)
    vm.policy = std::move(*policy);
  else
    vm.policy_error = policy.error().message;
}

Result<Inspection> look(const Settings& settings, const std::string& name) {
  Inspection vm;
  vm.kept = TRY(find_definition(settings, name));
  vm.view = look_at(TRY(record_of(settings, name, vm.kept)));
  vm.definition = vm.kept ? definition_json(*vm.kept) : vm.view.record.definition;
  net::RouteSocket host = TRY(net::RouteSocket::open());
  vm.path = TRY(trace_vm(host, vm.view.record).context("look at the links of VM '" + name + "'"));
  look_at_policy(vm);
  vm.files = files_of(settings, name);
  return vm;
}

std::string or_dash(std::string text) { return text.empty() ? "-" : std::move(text); }

std::string anchor_text(const VmPath& path) {
  switch (path.anchor_kind) {
    case AnchorKind::kBridge:
      return "port of " + path.anchor;
    case AnchorKind::kParent:
      return "on " + path.anchor;
    case AnchorKind::kRouted:
      return "routed by the host";
    case AnchorKind::kNone:
      break;
  }
  return "";
}

// From the guest outwards.
std::string links_text(const VmPath& path) {
  std::vector<std::string> parts;
  if (!path.tap.empty())
    parts.push_back(fmt::format("{} ({}, mtu {}{})", path.tap,
                                path.mode.empty() ? path.tap_kind : "macvtap, " + path.mode, path.mtu_bytes,
                                path.up ? "" : ", down"));
  if (!path.inner_veth.empty()) parts.push_back(path.inner_veth);
  if (!path.netns.empty() && !parts.empty()) parts.back() += " in namespace " + path.netns;
  if (!path.host_link.empty() && path.host_link != path.tap) parts.push_back(path.host_link);
  if (const std::string anchor = anchor_text(path); !anchor.empty()) parts.push_back(anchor);
  return or_dash(fmt::format("{}", fmt::join(parts, ", ")));
}

std::string policy_text(const Inspection& vm) {
  if (!vm.policy) return vm.policy_error.empty() ? "-" : "not known: " + vm.policy_error;
  return policy_summary(*vm.policy) +
         (vm.policy->policy ? " (slicer-run vm firewall " + vm.view.record.name + ")" : "");
}

std::string process_text(const VmView& view) {
  if (!view.hypervisor) return "-";
  const ProcessStats& stats = *view.hypervisor;
  return fmt::format("pid {}, {} of memory, {:.1f} s on processors ({:.0f}% since its start)",
                     view.record.hypervisor.pid, memory_text(stats.rss_bytes), stats.cpu.count(),
                     view.cpu_percent.value_or(0));
}

std::string lease_line(const VmRecord& record) {
  if (!record.lease) return "-";
  return fmt::format("{}{}, {} left", record.lease->address,
                     record.lease->server.empty() ? "" : " from " + record.lease->server, lease_text(record));
}

std::string member_text(const Json& object, const char* key) {
  if (!object.is_object() || !object.contains(key)) return "";
  const Json& value = object[key];
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string disk_text(const Inspection& vm) {
  if (!vm.kept || vm.kept->storage_bytes == 0) return "the image's, changes are lost";
  const std::string base = vm.kept->kept_disk ? vm.kept->kept_disk->base : "";
  return fmt::format("its own, {} MiB{}", vm.kept->storage_bytes >> 20, base.empty() ? "" : ", on " + base);
}

std::string text_of(const Inspection& vm) {
  const VmRecord& record = vm.view.record;
  const auto uptime = vm.view.hypervisor ? static_cast<int64_t>(vm.view.hypervisor->age.count()) : 0;
  const std::string group = record.group.empty() ? "" : record.group + " (" + record.group_file + ")";
  std::vector<std::vector<std::string>> rows = {
      {"name", record.name},
      {"state", std::string(vm.view.state) + (vm.view.hypervisor ? " for " + duration_text(uptime) : "") +
                    (record.link_gone ? ", no link" : "")},
      {"kept", vm.kept ? "yes" : "no: gone when it ends"},
      {"restart", or_dash(member_text(vm.definition, "restart"))},
      {"made", time_text(record.created)},
      {"group", or_dash(group)},
      {"network", or_dash(record.network)},
      {"addresses", or_dash(fmt::format("{}", fmt::join(all_addresses(record), ", ")))},
      {"gateways", or_dash(fmt::format("{}", fmt::join(all_gateways(record), ", ")))},
      {"lease", lease_line(record)},
      {"mac", or_dash(record.mac)},
      {"links", links_text(vm.path)},
      {"policy", policy_text(vm)},
      {"machine",
       fmt::format("{}{}, {}, {} vCPU, {} MiB", record.hypervisor_name, is_jailed(record) ? " by its jailer" : "",
                   record.accelerator, record.vcpus, record.ram_mib)},
      {"disk", disk_text(vm)},
      {"process", process_text(vm.view)},
      {"supervisor", record.supervisor.pid == 0 ? "-" : fmt::format("pid {}", record.supervisor.pid)}};
  for (size_t i = 0; i < vm.files.size(); ++i) rows.push_back({i == 0 ? "files" : "", vm.files[i]});
  return table_text(rows);
}

Json parsed(const std::string& text) {
  Result<Json> json = cni::parse_json(text);
  return json ? std::move(*json) : Json(nullptr);
}

Json links_json(const VmPath& path) {
  constexpr std::array<const char*, 4> kKinds = {nullptr, "bridge", "parent", "routed"};
  const char* const kind = kKinds.at(static_cast<size_t>(path.anchor_kind));
  return {{"tap", path.tap},
          {"kind", path.tap_kind},
          {"mode", path.mode},
          {"mtu", path.mtu_bytes},
          {"up", path.up},
          {"netns", path.netns},
          {"innerVeth", path.inner_veth},
          {"hostLink", path.host_link},
          {"on", path.anchor},
          {"onKind", kind == nullptr ? Json(nullptr) : Json(kind)}};
}

Json json_of(const Inspection& vm) {
  const VmRecord& record = vm.view.record;
  Json json = vm_json(vm.view);
  json["groupFile"] = record.group_file;
  json["kept"] = vm.kept.has_value();
  json["definition"] = vm.definition;
  if (json["definition"].is_object()) {
    json["definition"].erase("conflist");
    json["definition"].erase("userdata");  // it may hold secrets, and is in the file
  }
  json["conflist"] = parsed(record.conflist);
  json["confDir"] = record.conf_dir;
  json["capabilityArgs"] = record.capability_args;
  json["seenAddresses"] = record.seen_addresses;
  json["linkLocal"] = record.link_local;
  json["links"] = links_json(vm.path);
  json["policy"] = vm.policy ? Json(policy_summary(*vm.policy)) : Json(nullptr);
  json["files"] = vm.files;
  return json;
}

Result<int> run(const Context& context, const std::string& name, bool as_json) {
  TRY(check_vm_name(name));
  TRY(check_root());
  const Inspection vm = TRY(look(context, name));
  TRY(print(as_json ? json_of(vm).dump(2, ' ', false, Json::error_handler_t::replace) + "\n" : text_of(vm)));
  return kExitOk;
}

}  // namespace

void register_inspect(CLI::App& app, Context& context) {
  struct Options {
    std::string name = {};
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  CLI::App& command = *app.add_subcommand("inspect", "Show everything that is known of a VM");
  command.add_option("NAME", options->name, "The VM")->required();
  command.add_flag("--json", options->json, "As a JSON object, with the network's conflist");
  command.footer(kExamples);
  command.callback([&context, options] {
    context.action = [&context, options] { return run(context, options->name, options->json); };
  });
}

}  // namespace slicer::runner
