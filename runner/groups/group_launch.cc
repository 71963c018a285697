#include "runner/groups/group_launch.h"

#include "runner/groups/image_file.h"
#include "runner/groups/to_conflist.h"

namespace slicer::runner {

Result<LaunchSpec> group_vm_spec(const HostGroup& group, unsigned number, const chain::Conflist& network,
                                 const std::string& file) {
  GroupImage image = TRY(read_group_image(group.image).context("host group '" + group.name + "'"));
  LaunchSpec spec;
  if (number != 0) spec.name = group.vm_name(number);
  spec.network = network;
  spec.image = std::move(image.parts);
  spec.image_dir = std::move(image.folder);
  spec.vcpus = group.vcpus;
  spec.ram_mib = group.ram_mib;
  spec.hypervisor = group.hypervisor;
  spec.jailer = group.jailer;
  spec.group = group.name;
  spec.group_file = file;
  spec.capability_args = TRY(group_capabilities(group, number));
  spec.restart = restart_word(group.restart);
  spec.storage_bytes = group.storage_bytes;
  spec.ssh_keys = group.ssh_keys;
  spec.userdata = group.userdata;
  return spec;
}

}  // namespace slicer::runner
