#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/App.hpp>
#include <memory>

#include "lib/base/log.h"
#include "runner/chain/conflist.h"
#include "runner/commands/vm.h"
#include "runner/guest/image.h"
#include "runner/hypervisor/accelerator.h"
#include "runner/state/vm_files.h"
#include "runner/supervisor/attachment.h"
#include "runner/supervisor/cleanup.h"
#include "runner/supervisor/console.h"
#include "runner/supervisor/supervisor.h"
#include "runner/supervisor/system_user.h"

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;

constexpr auto kNameLimit = 30s;
constexpr auto kNamePause = 20ms;

struct Options {
  std::string name = {};
  std::string network = "slicer";
  ImageOverrides image = {};
  unsigned vcpus = 1;
  unsigned ram_mib = 256;
  std::string accelerator = "auto";
  bool foreground = false;
};

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

Result<VmLock> take_name(const Settings& settings, const std::string& name) {
  {
    const VmLock lock = TRY(wait_for_name(settings, name));
    TRY(clean_leftovers(settings, name, lock).context("clean up after the last VM '" + name + "'"));
  }
  return wait_for_name(settings, name);  // the lock went with the leftovers
}

Result<VmRecord> start(const Context& context, const Options& options) {
  TRY(check_vm_name(options.name));
  TRY(check_root());
  VmRequest request{.name = options.name, .hypervisor = "qemu", .vcpus = options.vcpus, .ram_mib = options.ram_mib};
  request.network = TRY(chain::load_network(context.conf_dir, options.network));
  TRY(chain::Runtime(runtime_settings(context)).find_plugins(request.network));
  request.boot = TRY(resolve_image(context.image_dir, options.image));
  request.accelerator = TRY(choose_accelerator(TRY(parse_accelerator(options.accelerator)), probe_kvm()));
  TRY(hypervisor_user());
  return start_vm(context, request, TRY(take_name(context, options.name)));
}

// The name and the addresses; the last line, when it is for scripts to take apart.
std::string summary(const VmRecord& record) {
  const std::string address =
      record.addresses.empty() ? "no address (DHCP)" : fmt::format("{}", fmt::join(record.addresses, ", "));
  return fmt::format("{} runs: {} on network '{}' ({}, {})\n", record.name, address, record.network,
                     record.hypervisor_name, record.accelerator);
}

Result<int> stay(const Context& context, const VmRecord& record) {
  log_line("console of '" + record.name + "': ctrl-] leaves it and the VM runs on");
  const ConsoleEnd end = TRY(attach_console(context, record));
  if (end == ConsoleEnd::kDetached) {
    log_line("left; '" + record.name + "' runs on");
    return kExitOk;
  }
  const UniqueFd supervisor = open_process(record.supervisor);
  // The hypervisor has ended by itself: its supervisor needs no signal, only time.
  if (end == ConsoleEnd::kVmEnded && supervisor.valid() && wait_for_end(supervisor, 60000)) return kExitOk;
  log_line("shutting '" + record.name + "' down");
  TRY(stop_vm(context, record, false));
  return kExitOk;
}

Result<int> run(const Context& context, const Options& options) {
  const VmRecord record = TRY(start(context, options));
  TRY(print(summary(record)));
  return options.foreground ? stay(context, record) : kExitOk;
}

}  // namespace

void register_vm_new(CLI::App& vm, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App& command = *vm.add_subcommand("new", "Boot a VM on a network");
  command.add_option("NAME", options->name, "The VM's name: a DNS name")->required();
  command.add_option("--network", options->network, "Network to attach it to")->capture_default_str();
  command.add_option("--kernel", options->image.kernel, "Kernel instead of the demo image's");
  command.add_option("--initrd", options->image.initrd, "Initial file system");
  command.add_option("--disk", options->image.disk, "Disk: raw, or qcow2 when its name ends in .qcow2");
  command.add_option("--cmdline", options->image.cmdline, "Kernel command line; name and network are added to it");
  command.add_option("--vcpu", options->vcpus, "Processors")->check(CLI::Range(1U, 255U))->capture_default_str();
  command.add_option("--ram-mb", options->ram_mib, "Memory in MiB")
      ->check(CLI::Range(16U, 16U << 20U))
      ->capture_default_str();
  command.add_option("--accel", options->accelerator, "auto: KVM where it works, else TCG")
      ->check(CLI::IsMember({"auto", "kvm", "tcg"}))
      ->capture_default_str();
  command.add_flag("--foreground", options->foreground, "Stay on its console; a signal ends the VM");
  command.callback([&context, options] { context.action = [&context, options] { return run(context, *options); }; });
}

}  // namespace slicer::runner
