#include "runner/state/vm_record.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "lib/base/whole_file.h"
#include "lib/cni/fields.h"
#include "runner/state/vm_definition.h"
#include "runner/state/vm_files.h"

namespace slicer::runner {
namespace {

using cni::Json;

constexpr std::array<std::pair<Phase, const char*>, 4> kPhases = {{{Phase::kStarting, "starting"},
                                                                   {Phase::kRunning, "running"},
                                                                   {Phase::kStopping, "stopping"},
                                                                   {Phase::kStopped, "stopped"}}};

Json process_json(const ProcessId& id) { return {{"pid", id.pid}, {"startTime", id.start_time}}; }

Result<ProcessId> parse_process(const Json& record, const char* key) {
  const Json json = TRY(cni::object_field(record, key));
  const int64_t pid = TRY(cni::int_field(json, "pid", 0, {.low = 0, .high = INT32_MAX}));
  const int64_t start = TRY(cni::int_field(json, "startTime", 0, {.low = 0}));
  return ProcessId{.pid = static_cast<pid_t>(pid), .start_time = static_cast<uint64_t>(start)};
}

Result<Phase> parse_phase(const Json& record) {
  const std::string name = TRY(cni::string_field(record, "phase"));
  for (const auto& [phase, text] : kPhases)
    if (name == text) return phase;
  return fail(Kind::kDecode, "\"phase\": '" + name + "' is not known");
}

Result<std::vector<std::pair<std::string, std::string>>> parse_args(const Json& record) {
  std::vector<std::pair<std::string, std::string>> args;
  for (const std::string& arg : TRY(cni::strings_field(record, "cniArgs"))) {
    const size_t equals = arg.find('=');
    if (equals == std::string::npos) return fail(Kind::kDecode, "\"cniArgs\": '" + arg + "' has no '='");
    args.emplace_back(arg.substr(0, equals), arg.substr(equals + 1));
  }
  return args;
}

Json args_json(const VmRecord& record) {
  Json list = Json::array();
  for (const auto& [key, value] : record.cni_args) list.push_back(key + "=" + value);
  return list;
}

Result<void> read_attachment(const Json& json, VmRecord& record) {
  record.network = TRY(cni::string_field(json, "network"));
  record.conflist = TRY(cni::string_field(json, "conflist"));
  record.conf_dir = TRY(cni::string_field(json, "confDir"));
  record.cni_path = TRY(cni::strings_field(json, "cniPath"));
  record.cache_dir = TRY(cni::string_field(json, "cacheDir"));
  record.cni_args = TRY(parse_args(json));
  record.capability_args = TRY(cni::object_field(json, "capabilityArgs"));
  record.placement = TRY(cni::bool_field(json, "hostNetns", false)) ? Placement::kHost : Placement::kPrivate;
  record.netns = TRY(cni::string_field(json, "netns"));
  record.ifname = TRY(cni::string_field(json, "ifname"));
  record.attached = TRY(cni::bool_field(json, "attached", false));
  record.tap = TRY(cni::string_field(json, "tap"));
  record.mac = TRY(cni::string_field(json, "mac"));
  record.addresses = TRY(cni::strings_field(json, "addresses"));
  record.gateways = TRY(cni::strings_field(json, "gateways"));
  return {};
}

Json lease_json(const std::optional<VmRecord::Lease>& lease) {
  if (!lease) return Json::object();
  return {{"address", lease->address}, {"router", lease->router}, {"server", lease->server}, {"end", lease->end}};
}

Result<void> read_learned(const Json& json, VmRecord& record) {
  const Json lease = TRY(cni::object_field(json, "lease"));
  VmRecord::Lease read;
  read.address = TRY(cni::string_field(lease, "address"));
  read.router = TRY(cni::string_field(lease, "router"));
  read.server = TRY(cni::string_field(lease, "server"));
  read.end = TRY(cni::int_field(lease, "end", 0));
  if (!read.address.empty()) record.lease = std::move(read);
  record.seen_addresses = TRY(cni::strings_field(json, "seenAddresses"));
  record.link_local = TRY(cni::string_field(json, "linkLocal"));
  record.link_gone = TRY(cni::bool_field(json, "linkGone", false));
  return {};
}

Result<VmRecord> read_record(std::string_view text) {
  const Json json = TRY(cni::parse_json(text));
  if (!json.is_object()) return fail(Kind::kDecode, "not an object");
  VmRecord record;
  record.name = TRY(cni::string_field(json, "name"));
  record.phase = TRY(parse_phase(json));
  record.created = TRY(cni::int_field(json, "created", 0));
  record.supervisor = TRY(parse_process(json, "supervisor"));
  record.hypervisor = TRY(parse_process(json, "hypervisor"));
  record.group = TRY(cni::string_field(json, "group"));
  record.group_file = TRY(cni::string_field(json, "groupFile"));
  TRY(read_attachment(json, record));
  TRY(read_learned(json, record));
  record.hypervisor_name = TRY(cni::string_field(json, "hypervisorName"));
  record.accelerator = TRY(cni::string_field(json, "accelerator"));
  constexpr cni::Bounds kCount{.low = 0, .high = INT32_MAX};
  record.vcpus = static_cast<unsigned>(TRY(cni::int_field(json, "vcpus", 1, kCount)));
  record.ram_mib = static_cast<unsigned>(TRY(cni::int_field(json, "ramMib", 0, kCount)));
  record.definition = TRY(cni::object_field(json, "definition"));
  return record;
}

bool is_regular(const std::string& path) {
  struct stat info{};
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

}  // namespace

const char* phase_name(Phase phase) {
  for (const auto& [known, text] : kPhases)
    if (known == phase) return text;
  return "?";
}

std::vector<std::string> all_addresses(const VmRecord& record) {
  std::vector<std::string> all = record.addresses;
  if (record.lease) all.push_back(record.lease->address);
  for (const std::string& seen : record.seen_addresses) {
    const auto is_it = [&](const std::string& given) { return given.starts_with(seen + "/"); };
    if (std::ranges::none_of(record.addresses, is_it)) all.push_back(seen + "/64");
  }
  return all;
}

std::string record_text(const VmRecord& record) {
  const Json json = {{"name", record.name},
                     {"phase", phase_name(record.phase)},
                     {"created", record.created},
                     {"supervisor", process_json(record.supervisor)},
                     {"hypervisor", process_json(record.hypervisor)},
                     {"group", record.group},
                     {"groupFile", record.group_file},
                     {"network", record.network},
                     {"conflist", record.conflist},
                     {"confDir", record.conf_dir},
                     {"cniPath", record.cni_path},
                     {"cacheDir", record.cache_dir},
                     {"cniArgs", args_json(record)},
                     {"capabilityArgs", record.capability_args},
                     {"hostNetns", record.placement == Placement::kHost},
                     {"netns", record.netns},
                     {"ifname", record.ifname},
                     {"attached", record.attached},
                     {"tap", record.tap},
                     {"mac", record.mac},
                     {"addresses", record.addresses},
                     {"gateways", record.gateways},
                     {"lease", lease_json(record.lease)},
                     {"seenAddresses", record.seen_addresses},
                     {"linkLocal", record.link_local},
                     {"linkGone", record.link_gone},
                     {"hypervisorName", record.hypervisor_name},
                     {"accelerator", record.accelerator},
                     {"vcpus", record.vcpus},
                     {"ramMib", record.ram_mib},
                     {"definition", record.definition}};
  return cni::dump_json(json) + "\n";
}

Result<VmRecord> parse_record(std::string_view text) {
  Result<VmRecord> record = read_record(text);
  if (!record) record.error().kind = Kind::kDecode;  // nobody configures this file
  return record;
}

Result<VmRecord> load_record(const Settings& settings, const std::string& name) {
  const std::string path = vm_files(settings, name).state;
  const Result<std::string> text = read_file(path);
  if (!text && text.error().kind == Kind::kNotFound && is_regular(kept_files(settings, name).definition))
    return fail(Kind::kNotFound, "VM '" + name + "' does not run; it is stopped",
                "boot it: slicer-run vm start " + name);
  if (!text && text.error().kind == Kind::kNotFound)
    return fail(Kind::kNotFound, "no VM '" + name + "'", "slicer-run list shows the VMs");
  if (!text)
    return Result<VmRecord>(std::unexpected(text.error()))
        .hint(text.error().sys_errno == EACCES ? "run it with sudo: what a VM is belongs to root" : "");
  return parse_record(*text).context("read '" + path + "'");
}

Result<void> save_record(const Settings& settings, const VmRecord& record) {
  return write_whole_file(vm_files(settings, record.name).state, record_text(record));
}

bool is_alive(const VmRecord& record) { return open_process(record.supervisor).valid(); }

const char* state_name(const VmRecord& record) {
  return record.phase == Phase::kStopped || is_alive(record) ? phase_name(record.phase) : "dead";
}

}  // namespace slicer::runner
