#include <CLI/App.hpp>
#include <memory>

#include "lib/base/log.h"
#include "runner/chain/conflist.h"
#include "runner/commands/policy_options.h"
#include "runner/commands/vm.h"
#include "runner/state/storage_size.h"
#include "runner/state/vm_files.h"
#include "runner/supervisor/console.h"
#include "runner/supervisor/launch.h"

namespace slicer::runner {
namespace {

struct Options {
  std::string name = {};
  std::string network = "slicer";
  ImageOverrides image = {};
  unsigned vcpus = 1;
  unsigned ram_mib = 256;
  std::string accelerator = "auto";
  std::string storage = {};
  bool foreground = false;
  PolicyOptions policy = {};
};

Result<VmRecord> start(const Context& context, const Options& options) {
  LaunchSpec spec;
  spec.name = options.name;
  TRY(check_vm_name(spec.name));  // before the network is looked for
  spec.network = TRY(chain::load_network(context.conf_dir, options.network));
  spec.image = options.image;
  spec.vcpus = options.vcpus;
  spec.ram_mib = options.ram_mib;
  spec.accelerator = options.accelerator;
  spec.capability_args = TRY(policy_capability(options.policy));
  if (!options.storage.empty()) spec.storage_bytes = TRY(parse_storage_size(options.storage));
  const VmRequest request = TRY(make_request(context, spec));
  return start_vm(context, request, TRY(take_name(context, options.name)));
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
  TRY(stop_vm(context, record, {}));
  return kExitOk;
}

Result<int> run(const Context& context, const Options& options) {
  const VmRecord record = TRY(start(context, options));
  TRY(print(summary_text(record) + "\n"));
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
  command.add_option("--storage", options->storage,
                     "A disk of its own, kept until vm rm: 10G (K, M, G, T; default GiB)");
  add_policy_options(command, options->policy);
  command.add_flag("--foreground", options->foreground, "Stay on its console; a signal ends the VM");
  command.callback([&context, options] { context.action = [&context, options] { return run(context, *options); }; });
}

}  // namespace slicer::runner
