#pragma once
// slicer-run sos: the VMs' consoles, over SSH.

#include "runner/commands/command.h"

namespace slicer::runner {

void register_sos(CLI::App& app, Context& context);

}  // namespace slicer::runner
