#pragma once
// slicer-run network reload [NAME]: edited lists for the VMs that run, and rules that another program took.

#include "runner/commands/command.h"

namespace slicer::runner {

void register_network_reload(CLI::App& network, Context& context);

}  // namespace slicer::runner
