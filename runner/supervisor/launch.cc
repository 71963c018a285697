#include "runner/supervisor/launch.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>

#include "runner/hypervisor/accelerator.h"
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

Result<void> check_capabilities(const LaunchSpec& spec) {
  for (const auto& [capability, value] : spec.capability_args.items()) {
    if (chain::takes_capability(spec.network, capability)) continue;
    return fail(Kind::kUnsupportedField,
                fmt::format("network '{}' takes no \"{}\" of a VM: no plugin of it declares that capability",
                            spec.network.name, capability),
                capability == "policy"
                    ? R"(write {"type": "slicer-firewall", "capabilities": {"policy": true}} in the network's plugins)"
                    : fmt::format(R"(add "capabilities": {{"{}": true}} to the plugin that knows it)", capability));
  }
  return {};
}

}  // namespace

Result<VmRequest> make_request(const Settings& settings, const LaunchSpec& spec) {
  TRY(check_vm_name(spec.name));
  TRY(check_root());
  TRY(check_capabilities(spec));
  TRY(chain::Runtime(runtime_settings(settings)).find_plugins(spec.network));
  VmRequest request;
  request.name = spec.name;
  request.network = spec.network;
  request.boot = TRY(resolve_image(spec.image_dir.empty() ? settings.image_dir : spec.image_dir, spec.image));
  request.vcpus = spec.vcpus;
  request.ram_mib = spec.ram_mib;
  request.accelerator = TRY(choose_accelerator(TRY(parse_accelerator(spec.accelerator)), probe_kvm()));
  request.group = spec.group;
  request.group_file = spec.group_file;
  request.capability_args = spec.capability_args;
  TRY(hypervisor_user());
  return request;
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
