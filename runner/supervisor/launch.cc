#include "runner/supervisor/launch.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <filesystem>

#include "lib/base/log.h"
#include "runner/hypervisor/accelerator.h"
#include "runner/hypervisor/jailer.h"
#include "runner/hypervisor/kernel_image.h"
#include "runner/hypervisor/kinds.h"
#include "runner/ssh/runner_key.h"
#include "runner/state/vm_files.h"
#include "runner/supervisor/attachment.h"
#include "runner/supervisor/cleanup.h"
#include "runner/supervisor/system_user.h"

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;

constexpr auto kNameLimit = 30s;
constexpr auto kNamePause = 20ms;

// Another command may be cleaning up after the last VM of that name, and a lock without a living supervisor is held for
// moments only. Both are worth the wait; a running VM is not.
Result<VmLock> wait_for_name(const Settings& settings, const std::string& name) {
  const auto end = std::chrono::steady_clock::now() + kNameLimit;
  for (auto limit = 0ms;; limit = kNamePause) {
    Result<VmLock> lock = VmLock::acquire(settings, name, limit);
    if (lock || lock.error().kind != Kind::kBusy) return lock;
    const Result<VmRecord> holder = load_record(settings, name);
    if ((holder && is_alive(*holder)) || std::chrono::steady_clock::now() > end)
      return fail(Kind::kExists, "VM '" + name + "' exists",
                  "choose another name, or remove it: slicer-run vm rm " + name);
  }
}

Result<void> check_capabilities(const HypervisorKind& kind, const LaunchSpec& spec) {
  for (const auto& [capability, value] : spec.capability_args.items()) {
    if (chain::takes_capability(spec.network, capability)) continue;
    if (capability == "bandwidth" && kind.limits_rate) continue;
    return fail(Kind::kUnsupportedField,
                fmt::format("network '{}' takes no \"{}\" of a VM: no plugin of it declares that capability",
                            spec.network.name, capability),
                capability == "policy"
                    ? R"(write {"type": "slicer-firewall", "capabilities": {"policy": true}} in the network's plugins)"
                    : fmt::format(R"(add "capabilities": {{"{}": true}} to the plugin that knows it)", capability));
  }
  return {};
}

Result<void> check_fits(const HypervisorKind& kind, const LaunchSpec& spec) {
  if (spec.vcpus <= kind.max_vcpus) return {};
  return fail(Kind::kInvalidConfig,
              fmt::format("{} processors: {} gives a VM {} at most", spec.vcpus, kind.name, kind.max_vcpus),
              "ask for fewer (--vcpu, vcpu: in a host group), or use --hypervisor qemu");
}

ImageOverrides overrides_of(const VmDefinition& vm) {
  return {.kernel = vm.kernel, .initrd = vm.initrd, .disk = vm.disk, .cmdline = vm.cmdline};
}

// The supervisor's folder is "/", and a kept VM is started from anywhere.
std::string absolute(const std::string& path) {
  if (path.empty()) return path;
  std::error_code failed;
  const std::filesystem::path whole = std::filesystem::absolute(path, failed);
  return failed ? path : whole.lexically_normal().string();
}

std::optional<std::string> absolute(const std::optional<std::string>& path) {
  return path ? std::optional<std::string>(absolute(*path)) : path;
}

VmDefinition define(const Settings& settings, const LaunchSpec& spec) {
  VmDefinition vm;
  vm.name = spec.name;
  vm.created = std::time(nullptr);
  vm.group = spec.group;
  vm.group_file = spec.group_file;
  vm.network = spec.network.name;
  vm.conf_dir = absolute(settings.conf_dir);
  vm.conflist = spec.network.bytes;
  vm.image_dir = absolute(spec.image_dir.empty() ? settings.image_dir : spec.image_dir);
  vm.kernel = absolute(spec.image.kernel);
  vm.initrd = absolute(spec.image.initrd);
  vm.disk = absolute(spec.image.disk);
  vm.cmdline = spec.image.cmdline;
  vm.vcpus = spec.vcpus;
  vm.ram_mib = spec.ram_mib;
  vm.hypervisor = spec.hypervisor;
  vm.hypervisor_path = absolute(spec.hypervisor_path);
  vm.jailer = spec.jailer || !spec.jailer_path.empty();
  vm.jailer_path = absolute(spec.jailer_path);
  vm.accelerator = spec.accelerator;
  vm.capability_args = spec.capability_args;
  vm.storage_bytes = spec.storage_bytes;
  vm.storage_copy = spec.storage_copy;
  vm.dns_servers = spec.dns_servers;
  vm.ssh_keys = spec.ssh_keys;
  vm.userdata = spec.userdata;
  vm.restart = spec.restart;
  return vm;
}

// A guest without it boots, but cannot be logged in to.
std::string runner_key(const Settings& settings) {
  const Result<RunnerKey> key = ensure_runner_key(settings);
  if (key) return key->public_line;
  log_line(key.error().message + ": vm exec, shell and cp will not work, ignoring");
  return {};
}

}  // namespace

Result<VmRequest> make_request(const Settings& settings, const LaunchSpec& spec) {
  TRY(check_vm_name(spec.name));
  TRY(check_root());
  const HypervisorKind& kind = *TRY(find_hypervisor_kind(spec.hypervisor));
  TRY(check_capabilities(kind, spec));
  TRY(chain::Runtime(runtime_settings(settings)).find_plugins(spec.network));
  TRY(check_fits(kind, spec));
  VmRequest request;
  request.name = spec.name;
  request.network = spec.network;
  request.definition = define(settings, spec);
  request.boot = TRY(resolve_image(request.definition.image_dir, overrides_of(request.definition)));
  request.accelerator = TRY(choose_accelerator(kind, TRY(parse_accelerator(spec.accelerator)), probe_kvm()));
  request.program = TRY(find_hypervisor(kind, request.definition.hypervisor_path));
  if (request.definition.jailer)
    request.program.jailer = TRY(find_jailer(kind, request.program, request.definition.jailer_path));
  if (kind.plain_kernel)
    request.boot.kernel = TRY(loadable_kernel(request.boot.kernel, settings.data_dir + "/kernels"));
  request.kept = spec.kept;
  request.runner_key = runner_key(settings);
  TRY(hypervisor_user());
  return request;
}

LaunchSpec spec_of(const VmDefinition& vm, chain::Conflist network) {
  LaunchSpec spec;
  spec.name = vm.name;
  spec.network = std::move(network);
  spec.image = overrides_of(vm);
  spec.image_dir = vm.image_dir;
  spec.vcpus = vm.vcpus;
  spec.ram_mib = vm.ram_mib;
  spec.hypervisor = vm.hypervisor;
  spec.hypervisor_path = vm.hypervisor_path;
  spec.jailer = vm.jailer;
  spec.jailer_path = vm.jailer_path;
  spec.accelerator = vm.accelerator;
  spec.group = vm.group;
  spec.group_file = vm.group_file;
  spec.capability_args = vm.capability_args;
  spec.storage_bytes = vm.storage_bytes;
  spec.storage_copy = vm.storage_copy;
  spec.dns_servers = vm.dns_servers;
  spec.ssh_keys = vm.ssh_keys;
  spec.userdata = vm.userdata;
  spec.restart = vm.restart;
  spec.kept = KeptWish::kMust;
  return spec;
}

Result<VmLock> take_name(const Settings& settings, const std::string& name) {
  {
    const VmLock lock = TRY(wait_for_name(settings, name));
    TRY(clean_leftovers(settings, name, lock).context("clean up after the last VM '" + name + "'"));
  }
  return wait_for_name(settings, name);  // the lock went with the leftovers
}

std::string summary_text(const VmRecord& record) {
  const std::string address = record.addresses.empty() ? "address by DHCP (slicer-run list shows it)"
                                                       : fmt::format("{}", fmt::join(record.addresses, ", "));
  return fmt::format("{} runs: {} on network '{}' ({}, {})", record.name, address, record.network,
                     record.hypervisor_name, record.accelerator);
}

}  // namespace slicer::runner
