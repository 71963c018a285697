#include "runner/state/vm_definition.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>

#include "lib/base/log.h"
#include "lib/base/whole_file.h"
#include "lib/cni/fields.h"
#include "runner/state/vm_files.h"

namespace slicer::runner {
namespace {

using cni::Json;

constexpr int64_t kVersion = 1;
constexpr size_t kMaxDefinition = size_t{4} << 20;  // it holds a conflist and the user's data for the guest

struct CloseDirectory {
  void operator()(DIR* directory) const { (void)closedir(directory); }
};

std::string vms_folder(const Settings& settings) { return settings.data_dir + "/vms"; }

Json disk_json(const std::optional<KeptDisk>& disk) {
  if (!disk) return nullptr;
  return {{"format", disk->format},
          {"base", disk->base},
          {"baseFormat", disk->base_format},
          {"baseBytes", disk->base_bytes},
          {"baseChangedNs", disk->base_changed_ns}};
}

Result<std::optional<KeptDisk>> parse_disk(const Json& definition) {
  const Json json = TRY(cni::object_field(definition, "keptDisk"));
  if (json.empty()) return std::optional<KeptDisk>{};
  KeptDisk disk;
  disk.format = TRY(cni::string_field(json, "format"));
  if (disk.format != "qcow2" && disk.format != "raw")
    return fail(Kind::kDecode, "\"format\": '" + disk.format + "' is not known");
  disk.base = TRY(cni::string_field(json, "base"));
  disk.base_format = TRY(cni::string_field(json, "baseFormat"));
  disk.base_bytes = static_cast<uint64_t>(TRY(cni::int_field(json, "baseBytes", 0, {.low = 0})));
  disk.base_changed_ns = TRY(cni::int_field(json, "baseChangedNs", 0));
  return std::optional<KeptDisk>(std::move(disk));
}

// Null is absent: an empty text is the user's "none".
Json optional_json(const std::optional<std::string>& text) { return text ? Json(*text) : Json(nullptr); }

Result<std::optional<std::string>> optional_text(const Json& json, const char* key) {
  if (!json.contains(key) || json[key].is_null()) return std::optional<std::string>{};
  return std::optional<std::string>(TRY(cni::string_field(json, key)));
}

Result<void> read_machine(const Json& json, VmDefinition& vm) {
  vm.image_dir = TRY(cni::string_field(json, "imageDir"));
  vm.kernel = TRY(optional_text(json, "kernel"));
  vm.initrd = TRY(optional_text(json, "initrd"));
  vm.disk = TRY(optional_text(json, "disk"));
  vm.cmdline = TRY(optional_text(json, "cmdline"));
  constexpr cni::Bounds kCount{.low = 1, .high = INT32_MAX};
  vm.vcpus = static_cast<unsigned>(TRY(cni::int_field(json, "vcpus", 1, kCount)));
  vm.ram_mib = static_cast<unsigned>(TRY(cni::int_field(json, "ramMib", 256, kCount)));
  vm.hypervisor = TRY(cni::string_field(json, "hypervisor", "qemu"));
  vm.hypervisor_path = TRY(cni::string_field(json, "hypervisorPath", ""));
  vm.jailer = TRY(cni::bool_field(json, "jailer", false));
  vm.jailer_path = TRY(cni::string_field(json, "jailerPath", ""));
  vm.accelerator = TRY(cni::string_field(json, "accelerator", "auto"));
  vm.storage_bytes = static_cast<uint64_t>(TRY(cni::int_field(json, "storageBytes", 0, {.low = 0})));
  vm.storage_copy = TRY(cni::bool_field(json, "storageCopy", false));
  vm.kept_disk = TRY(parse_disk(json));
  return {};
}

Result<VmDefinition> read_definition(const Json& json) {
  const int64_t version = TRY(cni::int_field(json, "version", 0));
  if (version != kVersion)
    return fail(Kind::kDecode,
                fmt::format("\"version\": {} is not {}: another slicer-run wrote it", version, kVersion));
  VmDefinition vm;
  vm.name = TRY(cni::string_field(json, "name"));
  vm.created = TRY(cni::int_field(json, "created", 0));
  vm.group = TRY(cni::string_field(json, "group"));
  vm.group_file = TRY(cni::string_field(json, "groupFile"));
  vm.network = TRY(cni::string_field(json, "network"));
  vm.conf_dir = TRY(cni::string_field(json, "confDir"));
  vm.conflist = TRY(cni::string_field(json, "conflist"));
  TRY(read_machine(json, vm));
  vm.capability_args = TRY(cni::object_field(json, "capabilityArgs"));
  vm.dns_servers = TRY(cni::strings_field(json, "dnsServers"));
  vm.ssh_keys = TRY(cni::strings_field(json, "sshKeys"));
  vm.userdata = TRY(cni::string_field(json, "userdata"));
  vm.restart = TRY(cni::string_field(json, "restart", "no"));
  vm.mac = TRY(cni::string_field(json, "mac"));
  vm.addresses = TRY(cni::strings_field(json, "addresses"));
  vm.stopped = TRY(cni::bool_field(json, "stopped", false));
  return vm;
}

Result<VmDefinition> read_kept(const std::string& path, const std::string& name) {
  const std::string text = TRY(read_file(path, kMaxDefinition));
  VmDefinition vm =
      TRY(parse_definition(TRY(cni::parse_json(text).context("read '" + path + "'"))).context("read '" + path + "'"));
  if (vm.name == name) return vm;
  return fail(Kind::kDecode, fmt::format("read '{}': it is of VM '{}'", path, vm.name));
}

}  // namespace

KeptFiles kept_files(const Settings& settings, const std::string& name) {
  const std::string folder = vms_folder(settings) + "/" + name;
  return {.folder = folder,
          .definition = folder + "/vm.json",
          .known_hosts = folder + "/known_hosts",
          .seed = folder + "/seed.iso"};
}

Result<KeptFiles> ensure_kept_folder(const Settings& settings, const std::string& name) {
  KeptFiles files = kept_files(settings, name);
  TRY(ensure_directory(settings.data_dir));
  TRY(ensure_directory(files.folder, 0700));
  return files;
}

Json definition_json(const VmDefinition& vm) {
  return {{"version", kVersion},
          {"name", vm.name},
          {"created", vm.created},
          {"group", vm.group},
          {"groupFile", vm.group_file},
          {"network", vm.network},
          {"confDir", vm.conf_dir},
          {"conflist", vm.conflist},
          {"imageDir", vm.image_dir},
          {"kernel", optional_json(vm.kernel)},
          {"initrd", optional_json(vm.initrd)},
          {"disk", optional_json(vm.disk)},
          {"cmdline", optional_json(vm.cmdline)},
          {"vcpus", vm.vcpus},
          {"ramMib", vm.ram_mib},
          {"hypervisor", vm.hypervisor},
          {"hypervisorPath", vm.hypervisor_path},
          {"jailer", vm.jailer},
          {"jailerPath", vm.jailer_path},
          {"accelerator", vm.accelerator},
          {"capabilityArgs", vm.capability_args},
          {"storageBytes", vm.storage_bytes},
          {"storageCopy", vm.storage_copy},
          {"dnsServers", vm.dns_servers},
          {"sshKeys", vm.ssh_keys},
          {"userdata", vm.userdata},
          {"restart", vm.restart},
          {"mac", vm.mac},
          {"addresses", vm.addresses},
          {"keptDisk", disk_json(vm.kept_disk)},
          {"stopped", vm.stopped}};
}

Result<VmDefinition> parse_definition(const Json& json) {
  if (!json.is_object()) return fail(Kind::kDecode, "not an object");
  Result<VmDefinition> vm = read_definition(json);
  if (!vm) {
    vm.error().kind = Kind::kDecode;  // nobody configures this file
    vm.error().hint.clear();
  }
  return vm;
}

Result<void> save_definition(const Settings& settings, const VmDefinition& vm) {
  const KeptFiles files = TRY(ensure_kept_folder(settings, vm.name));
  return write_whole_file(files.definition,
                          definition_json(vm).dump(2, ' ', false, Json::error_handler_t::replace) + "\n",
                          {.mode = 0600, .sync = true});
}

Result<VmDefinition> load_definition(const Settings& settings, const std::string& name) {
  Result<VmDefinition> vm = read_kept(kept_files(settings, name).definition, name);
  if (!vm && vm.error().kind == Kind::kNotFound)
    return fail(Kind::kNotFound, "no VM '" + name + "'", "slicer-run list shows the VMs");
  if (!vm && vm.error().sys_errno == EACCES) vm.error().hint = "run it with sudo: what a VM is belongs to root";
  return vm;
}

Result<std::optional<VmDefinition>> find_definition(const Settings& settings, const std::string& name) {
  Result<VmDefinition> vm = load_definition(settings, name);
  if (!vm && vm.error().kind == Kind::kNotFound) return std::optional<VmDefinition>{};
  if (!vm) return std::unexpected(std::move(vm).error());
  return std::optional<VmDefinition>(std::move(*vm));
}

Result<std::vector<std::string>> list_kept_folders(const Settings& settings) {
  const std::string path = vms_folder(settings);
  const std::unique_ptr<DIR, CloseDirectory> directory(opendir(path.c_str()));
  if (!directory) {
    if (errno == ENOENT) return std::vector<std::string>{};
    return fail_errno(errno, "open folder '" + path + "'");
  }
  std::vector<std::string> names;
  while (const dirent* entry = readdir(directory.get()))
    if (check_vm_name(entry->d_name)) names.emplace_back(entry->d_name);
  std::ranges::sort(names);
  return names;
}

Result<std::vector<VmDefinition>> list_definitions(const Settings& settings) {
  std::vector<VmDefinition> all;
  for (const std::string& name : TRY(list_kept_folders(settings))) {
    Result<VmDefinition> vm = load_definition(settings, name);
    if (vm)
      all.push_back(std::move(*vm));
    else if (vm.error().sys_errno == EACCES)
      return std::unexpected(std::move(vm).error());
    else if (vm.error().kind != Kind::kNotFound)
      log_line(vm.error().message + ", ignoring");
  }
  return all;
}

Result<void> delete_definition(const Settings& settings, const std::string& name) {
  return delete_file(kept_files(settings, name).definition);
}

Result<void> remove_kept(const Settings& settings, const std::string& name) {
  TRY(check_vm_name(name));  // an empty one would be every VM's folder
  TRY(delete_definition(settings, name));
  const std::string folder = kept_files(settings, name).folder;
  std::error_code failed;
  (void)std::filesystem::remove_all(folder, failed);
  if (failed) return fail(Kind::kIo, "remove '" + folder + "': " + failed.message());
  return {};
}

VmRecord stopped_record(const VmDefinition& vm) {
  VmRecord record;
  record.name = vm.name;
  record.phase = Phase::kStopped;
  record.created = vm.created;
  record.group = vm.group;
  record.group_file = vm.group_file;
  record.network = vm.network;
  record.conflist = vm.conflist;
  record.conf_dir = vm.conf_dir;
  record.capability_args = vm.capability_args;
  record.mac = vm.mac;
  record.hypervisor_name = vm.hypervisor;
  record.accelerator = vm.accelerator;
  record.vcpus = vm.vcpus;
  record.ram_mib = vm.ram_mib;
  record.definition = definition_json(vm);
  return record;
}

bool is_jailed(const VmRecord& record) {
  const auto found = record.definition.find("jailer");
  return found != record.definition.end() && found->is_boolean() && found->get<bool>();
}

Result<VmDefinition> definition_of(const VmRecord& record) {
  VmDefinition vm = TRY(parse_definition(record.definition).context("VM '" + record.name + "': how it was made"));
  vm.conflist = record.conflist;
  vm.mac = record.mac;
  vm.addresses = record.addresses;
  return vm;
}

}  // namespace slicer::runner
