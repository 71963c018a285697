#pragma once
// slicer-run network check [NAME|FILE]: STATUS of a network and CHECK of what is attached to it.

#include "runner/commands/command.h"

namespace slicer::runner {

void register_network_check(CLI::App& network, Context& context);

}  // namespace slicer::runner
