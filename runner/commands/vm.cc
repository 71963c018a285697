#include "runner/commands/vm.h"

#include <CLI/App.hpp>

namespace slicer::runner {

void register_vm(CLI::App& app, Context& context) {
  CLI::App& vm = *app.add_subcommand("vm", "Make, show and remove VMs");
  vm.require_subcommand(1);
  register_vm_new(vm, context);
  register_list(vm, context);
  register_vm_console(vm, context);
  register_vm_logs(vm, context);
  register_vm_firewall(vm, context);
  register_vm_cp(vm, context);
  register_vm_exec(vm, context);
  register_vm_shell(vm, context);
  register_vm_port_forward(vm, context);
  register_vm_restart(vm, context);
  register_vm_rm(vm, context);
  register_vm_start(vm, context);
  register_vm_stop(vm, context);
}

}  // namespace slicer::runner
