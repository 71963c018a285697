#include "runner/supervisor/kept_run.h"

#include <algorithm>

#include "runner/guest/disk.h"
#include "runner/supervisor/attachment.h"

namespace slicer::runner {
namespace {

Result<void> make_disk(const Settings& settings, const BootFiles& boot, VmDefinition& vm) {
  if (vm.storage_bytes == 0 || vm.kept_disk) return {};
  const KeptFiles files = TRY(ensure_kept_folder(settings, vm.name));
  const bool layers = TRY(find_hypervisor_kind(vm.hypervisor))->layers;
  const NewDisk wish{
      .folder = files.folder, .image = boot.disk, .bytes = vm.storage_bytes, .copy = vm.storage_copy || !layers};
  vm.kept_disk = TRY(create_disk(wish).context("give VM '" + vm.name + "' a disk"));
  return {};
}

void ask_for_mac(const chain::Conflist& network, const VmDefinition& vm, VmRecord& record) {
  if (vm.mac.empty() || record.capability_args.contains("mac")) return;
  if (chain::takes_capability(network, "mac"))
    record.capability_args["mac"] = vm.mac;
  else
    record.cni_args.emplace_back("MAC", vm.mac);
}

}  // namespace

Result<VmDefinition> take_up_kept(const Settings& settings, const VmRequest& request) {
  const std::string& name = request.name;
  const std::optional<VmDefinition> kept = TRY(find_definition(settings, name));
  VmDefinition vm = request.definition;
  if (!kept && request.kept == KeptWish::kMust) return fail(Kind::kNotFound, "no VM '" + name + "'");
  if (!kept) return vm;
  if (request.kept == KeptWish::kRefuse)
    return fail(Kind::kExists, "VM '" + name + "' exists; it is stopped",
                "boot it: slicer-run vm start " + name + "; or remove it with its disk: slicer-run vm rm " + name);
  if (kept->group != vm.group)
    return fail(Kind::kExists, "VM '" + name + "' exists (stopped) and is of another host group, '" + kept->group + "'",
                "remove it with its disk: slicer-run vm rm " + name);
  vm.created = kept->created;
  vm.mac = kept->mac;
  vm.addresses = kept->addresses;
  vm.kept_disk = kept->kept_disk;
  vm.storage_bytes = std::max(vm.storage_bytes, kept->storage_bytes);  // a disk never shrinks
  return vm;
}

Result<std::vector<Disk>> find_disks(const Settings& settings, const BootFiles& boot, VmDefinition& vm) {
  TRY(make_disk(settings, boot, vm));
  std::vector<Disk> all;
  if (vm.kept_disk)
    all.push_back(TRY(open_kept_disk(kept_files(settings, vm.name).folder, *vm.kept_disk, vm.storage_bytes)));
  else if (!boot.disk.empty())
    all.push_back({.path = boot.disk, .format = disk_format(boot.disk)});
  return all;
}

Result<cni::CniResult> attach_as_before(const Settings& settings, const chain::Conflist& network,
                                        const VmDefinition& vm, VmRecord& record) {
  ask_for_mac(network, vm, record);
  const bool asks_address =
      !vm.addresses.empty() && !record.capability_args.contains("ips") && chain::takes_capability(network, "ips");
  if (!asks_address) return attach(settings, network, record);
  record.capability_args["ips"] = vm.addresses;
  Result<cni::CniResult> result = attach(settings, network, record);
  if (result) return result;
  TRY(detach(settings, record));
  record.attached = false;
  record.capability_args.erase("ips");
  return attach(settings, network, record);
}

}  // namespace slicer::runner
