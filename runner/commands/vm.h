#pragma once
// slicer-run vm new | list | console | cp | exec | firewall | logs | port-forward | restart | rm | shell | start |
// stop; and list and forward, the same as vm list and vm port-forward.

#include "runner/commands/command.h"

namespace slicer::runner {

void register_vm(CLI::App& app, Context& context);
void register_list(CLI::App& app, Context& context);
void register_forward(CLI::App& app, Context& context);

// Below vm.
void register_vm_new(CLI::App& vm, Context& context);
void register_vm_console(CLI::App& vm, Context& context);
void register_vm_logs(CLI::App& vm, Context& context);
void register_vm_cp(CLI::App& vm, Context& context);
void register_vm_exec(CLI::App& vm, Context& context);
void register_vm_shell(CLI::App& vm, Context& context);
void register_vm_firewall(CLI::App& vm, Context& context);
void register_vm_port_forward(CLI::App& vm, Context& context);
void register_vm_restart(CLI::App& vm, Context& context);
void register_vm_rm(CLI::App& vm, Context& context);
void register_vm_start(CLI::App& vm, Context& context);
void register_vm_stop(CLI::App& vm, Context& context);

}  // namespace slicer::runner
