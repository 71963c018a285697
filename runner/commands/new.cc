#include <CLI/App.hpp>
#include <memory>

#include "runner/commands/groups.h"
#include "runner/groups/group_pool.h"
#include "runner/groups/host_networks.h"
#include "runner/groups/template.h"

namespace slicer::runner {
namespace {

constexpr const char* kExamples =
    "Examples:\n"
    "  slicer-run new vm --count=3 --cidr=192.168.137.0/24 > vm.yaml\n"
    "  slicer-run new vm --count=3 --cidr=192.168.137.0/24 --range=192.168.137.20-192.168.137.80\n"
    "  slicer-run new sandbox --net=isolated --count=1 --drop 192.168.1.0/24 > sandbox.yaml\n"
    "  slicer-run new proxied --net=isolated --drop 0.0.0.0/0 --allow 192.0.2.7:3128\n"
    "  slicer-run new lan --net=macvtap --parent=eth1 --count=1                 the LAN's DHCP server gives addresses\n"
    "  slicer-run new lan --net=macvtap --cidr=192.168.1.0/24 --range=192.168.1.100-192.168.1.200\n"
    "Then: slicer-run up vm.yaml";

Result<int> run(const Context& context, const NewGroup& wanted) {
  const HostNetworks host = TRY(look_at_networks(wanted.name, taken_subnets(context, wanted.name)));
  TRY(print(TRY(new_group_text(wanted, host))));
  return kExitOk;
}

}  // namespace

void register_new(CLI::App& app, Context& context) {
  const auto wanted = std::make_shared<NewGroup>();
  CLI::App& command = *app.add_subcommand("new", "Print the YAML of a host group, to keep and edit");
  command.add_option("NAME", wanted->name, "The group's name; its VMs are NAME-1, NAME-2, …")->required();
  command.add_option("--net", wanted->net, "How its VMs are connected")
      ->check(CLI::IsMember({"bridge", "isolated", "macvtap", "cni"}))
      ->capture_default_str();
  command.add_option("--count", wanted->count, "How many VMs `up` boots");
  command.add_option("--vcpu", wanted->vcpus, "Processors of each VM")->check(CLI::Range(1U, 255U));
  command.add_option("--ram", wanted->ram, "Memory of each VM: GiB, or 512M");
  command.add_option("--hypervisor", wanted->hypervisor, "qemu, firecracker or cloud-hypervisor");
  command.add_option("--image", wanted->image,
                     "A folder with kernel, initrd, disk and cmdline, or a YAML file of them");
  command.add_option(
      "--cidr", wanted->cidr,
      "bridge: the VMs' subnet; without it a free 192.168.x.0/24. macvtap: the LAN's subnet; without it DHCP");
  command.add_option("--range", wanted->range, "bridge, macvtap: the part of the subnet that VMs get, first-last");
  command.add_option("--parent", wanted->parent, "macvtap: the LAN's interface; without it the default route's");
  command.add_option("--isolated-range", wanted->isolated_range, "isolated: the CIDR that the /30 blocks come from");
  command.add_option("--drop", wanted->drop, "What VMs may not reach: CIDR, address or a-b, each also with :port")
      ->delimiter(',')
      ->allow_extra_args(false);
  command.add_option("--allow", wanted->allow, "What VMs may reach")->delimiter(',')->allow_extra_args(false);
  command.add_option("--network", wanted->network_name, "cni: the network's name")->capture_default_str();
  command.footer(kExamples);
  command.callback([&context, wanted] { context.action = [&context, wanted] { return run(context, *wanted); }; });
}

}  // namespace slicer::runner
