#include <CLI/App.hpp>
#include <memory>

#include "lib/base/log.h"
#include "runner/chain/conflist.h"
#include "runner/commands/policy_options.h"
#include "runner/commands/vm.h"
#include "runner/groups/group_member.h"
#include "runner/state/storage_size.h"
#include "runner/state/vm_files.h"
#include "runner/supervisor/console.h"
#include "runner/supervisor/launch.h"
#include "runner/supervisor/system_user.h"
#include "runner/view/vm_view.h"

namespace slicer::runner {
namespace {

constexpr const char* kNetwork = "slicer";

constexpr const char* kExplanation =
    "Without --network, --file or a second name, the first is a host group when one of that name is up, else the VM's "
    "name.\n"
    "Examples:\n"
    "  slicer-run vm new demo-1                     a VM by itself, on the network \"slicer\"\n"
    "  slicer-run vm new demo-1 --network lan       the same on another network\n"
    "  slicer-run vm new sandbox                    the next VM of the group that is up: sandbox-1, sandbox-2, …\n"
    "  slicer-run vm new sandbox builder --vcpu 4   a VM of the group with a name and a value of its own\n"
    "  slicer-run vm new sandbox --file sandbox.yaml    without an up before";

struct Options {
  std::string word = {};     ///< a group, or the VM's name
  std::string name = {};     ///< of a group's VM; empty: the next number
  std::string network = {};  ///< given: a VM by itself
  std::string file = {};     ///< given: the group's
  MemberWish wish = {};
  std::string storage = {};
  bool storage_copy = false;
  bool foreground = false;
  bool json = false;
  PolicyOptions policy = {};
};

Result<VmRecord> start_alone(const Context& context, const Options& options) {
  LaunchSpec spec;
  spec.name = options.word;
  TRY(check_vm_name(spec.name));  // before the network is looked for
  spec.network = TRY(chain::load_network(context.conf_dir, options.network.empty() ? kNetwork : options.network));
  spec.image = options.wish.image;
  spec.vcpus = options.wish.vcpus.value_or(spec.vcpus);
  spec.ram_mib = options.wish.ram_mib.value_or(spec.ram_mib);
  spec.accelerator = options.wish.accelerator.value_or(spec.accelerator);
  spec.hypervisor = options.wish.hypervisor.value_or(spec.hypervisor);
  spec.hypervisor_path = options.wish.hypervisor_path;
  spec.jailer = options.wish.jailer;
  spec.jailer_path = options.wish.jailer_path;
  spec.capability_args = TRY(policy_capability(options.policy));
  if (!options.storage.empty()) spec.storage_bytes = TRY(parse_storage_size(options.storage));
  spec.storage_copy = options.storage_copy;
  const VmRequest request = TRY(make_request(context, spec));
  return start_vm(context, request, TRY(take_name(context, spec.name)));
}

Result<bool> means_group(const Context& context, const Options& options) {
  if (!options.name.empty() || !options.file.empty()) return true;
  return options.network.empty() && TRY(find_note(context, options.word)).has_value();
}

Result<VmRecord> start(const Context& context, const Options& options) {
  if (!options.network.empty() && (!options.name.empty() || !options.file.empty()))
    return fail(Kind::kInvalidConfig, "--network: a VM of a host group is on the group's network",
                "leave it out, or give one name and no --file for a VM by itself");
  TRY(check_vm_name(options.word));
  if (!TRY(means_group(context, options))) return start_alone(context, options);
  MemberWish wish = options.wish;
  wish.name = options.name;
  wish.capability_args = TRY(policy_capability(options.policy));
  if (!options.storage.empty()) wish.storage_bytes = TRY(parse_storage_size(options.storage));
  if (!wish.name.empty()) TRY(check_vm_name(wish.name));
  TRY(check_root());
  if (!options.file.empty()) TRY(note_group(context, options.word, options.file));
  return start_member(context, options.word, wish);
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
  TRY(print((options.json ? vm_json(look_at(record)).dump(2) : summary_text(record)) + "\n"));
  return options.foreground ? stay(context, record) : kExitOk;
}

}  // namespace

void register_vm_new(CLI::App& vm, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App& command = *vm.add_subcommand("new", "Boot a VM on a network, or the next one of a host group");
  command.add_option("NAME|GROUP", options->word, "A host group that is up, or the VM's name: a DNS name")->required();
  command.add_option("VM", options->name, "Name of the group's VM, in place of the next number");
  command.add_option("--network", options->network,
                     "Network to attach it to (default: slicer); then the name is the VM's");
  command.add_option("--file", options->file, "YAML of the host group, which need not be up");
  MemberWish& wish = options->wish;
  command.add_option("--kernel", wish.image.kernel, "Kernel instead of the image's");
  command.add_option("--initrd", wish.image.initrd, "Initial file system");
  command.add_option("--disk", wish.image.disk, "Disk: raw, or qcow2 when its name ends in .qcow2");
  command.add_option("--cmdline", wish.image.cmdline, "Kernel command line; name and network are added to it");
  command.add_option("--vcpu", wish.vcpus, "Processors (default: 1, or the group's)")->check(CLI::Range(1U, 255U));
  command.add_option("--ram-mb", wish.ram_mib, "Memory in MiB (default: 256, or the group's)")
      ->check(CLI::Range(16U, 16U << 20U));
  command.add_option("--accel", wish.accelerator, "auto: KVM where it works, else TCG (default: auto)")
      ->check(CLI::IsMember({"auto", "kvm", "tcg"}));
  command
      .add_option("--hypervisor", wish.hypervisor,
                  "qemu, firecracker or cloud-hypervisor (default: qemu, or the group's)")
      ->check(CLI::IsMember({"qemu", "firecracker", "cloud-hypervisor"}));
  command.add_option("--hypervisor-path", wish.hypervisor_path, "Its program, instead of the one on PATH");
  command.add_flag("--jailer", wish.jailer, "Start Firecracker through its jailer");
  command.add_option("--jailer-path", wish.jailer_path,
                     "That jailer, instead of the one beside firecracker or on PATH; implies --jailer");
  command.add_option("--storage", options->storage,
                     "A disk of its own, kept until vm rm: 10G (K, M, G, T; default GiB)");
  command.add_flag("--storage-copy", options->storage_copy, "That disk is a copy of the image's, not a layer above it");
  add_policy_options(command, options->policy);
  CLI::Option& stays =
      *command.add_flag("--foreground", options->foreground, "Stay on its console; a signal ends the VM");
  command.add_flag("--json", options->json, "The VM as JSON, as list --json has it")->excludes(&stays);
  command.footer(kExplanation);
  command.callback([&context, options] { context.action = [&context, options] { return run(context, *options); }; });
}

}  // namespace slicer::runner
