#pragma once
// slicer-run network gc NAME: the GC verb of a network's plugins.

#include "runner/commands/command.h"

namespace slicer::runner {

void register_network_gc(CLI::App& network, Context& context);

}  // namespace slicer::runner
