#include "runner/commands/vm.h"

#include <CLI/App.hpp>

namespace slicer::runner {

void register_vm(CLI::App& app, Context& /*context*/) {
  CLI::App& vm = *app.add_subcommand("vm", "Make, show and remove VMs");
  vm.require_subcommand(1);
}

void register_list(CLI::App& /*app*/, Context& /*context*/) {}

}  // namespace slicer::runner
