#pragma once
// slicer-run network rm NAME: takes back what belongs to a whole network and therefore outlives its last VM.

#include "runner/commands/command.h"

namespace slicer::runner {

void register_network_rm(CLI::App& network, Context& context);

}  // namespace slicer::runner
